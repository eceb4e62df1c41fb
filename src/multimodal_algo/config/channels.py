"""The channels (named inputs) of a training job, each declared once.

The config reader, the options of ``local train`` and ``aws train``, the request of ``CreateAlgorithm`` and the table in
``docs/training.md`` are made from `CHANNELS`. A new channel is one entry here.
"""

from __future__ import annotations

from dataclasses import dataclass

MODEL_CONTENT_TYPE = "application/x-sagemaker-model"
"""The content type of a model artifact. Source: developer guide, *incremental-training*."""

_TABLES = ("text/csv", "application/x-parquet")
_IMAGE_FILES = ("application/x-image", "image/jpeg", "image/png")


@dataclass(frozen=True)
class Channel:
    """A named input of a training job, such as ``train`` or ``images``.

    Parameters
    ----------
    name
        Name of the channel in the job's request.
    description
        Content of the channel, in one sentence for users.
    content_types
        Content types that the data may have, the default first.
    input_modes
        SageMaker's input modes, the ways in which the data may arrive: ``File``, ``FastFile``, ``Pipe``.
    compressions
        Compressions that a job may name: ``None``, ``Gzip``.
    is_required
        Whether every job must have the channel.
    is_shardable
        Whether each instance may get a part of the files (``ShardedByS3Key``) instead of all files.
    """

    name: str
    description: str
    content_types: tuple[str, ...]
    input_modes: tuple[str, ...]
    compressions: tuple[str, ...] = ("None",)
    is_required: bool = False
    is_shardable: bool = False

    @property
    def holds_archive(self) -> bool:
        """Whether the channel holds a model artifact or networks, as a ``.tar.gz`` or a folder."""
        return self.content_types == (MODEL_CONTENT_TYPE,)

    @property
    def content_type(self) -> str:
        """The content type that is assumed if the job does not name one."""
        return self.content_types[0]

    def mode_for(self, wanted: str) -> str:
        """Return `wanted`, the input mode of a job, if this channel allows it. Otherwise return ``File``."""
        return wanted if wanted in self.input_modes else "File"


# Training recognises gzip by its first bytes: File mode does not decompress.
TRAIN = Channel(
    name="train",
    description="Tables with a header: label, ID, and columns that end in _text, _num, _cat or _image.",
    content_types=_TABLES,
    input_modes=("File", "FastFile", "Pipe"),
    compressions=("None", "Gzip"),
    is_required=True,
    is_shardable=True,
)
VALIDATION = Channel(
    name="validation",
    description="Rows with the same columns, on which metrics are measured. Without them, metrics are out-of-fold.",
    content_types=_TABLES,
    input_modes=("File", "FastFile", "Pipe"),
    compressions=("None", "Gzip"),
    is_shardable=True,
)
IMAGES = Channel(
    name="images",
    description="Image files that cells of image columns name, in place of base64.",
    content_types=_IMAGE_FILES,
    input_modes=("File", "FastFile"),
)
# The platform does not extract archives in File mode. By Pipe, the name of a file is lost.
MODEL = Channel(
    name="model",
    description="The model.tar.gz of a previous job, from which training continues.",
    content_types=(MODEL_CONTENT_TYPE,),
    input_modes=("File",),
)
PRETRAINED = Channel(
    name="pretrained",
    description="Networks to start from: the output of export-backbones, or a model.tar.gz.",
    content_types=(MODEL_CONTENT_TYPE,),
    input_modes=("File",),
)

CHANNELS = (TRAIN, VALIDATION, IMAGES, MODEL, PRETRAINED)


def find_channel(name: str) -> Channel | None:
    """Return the channel called `name`, or None if training does not read such a channel."""
    return next((channel for channel in CHANNELS if channel.name == name), None)


def channel_names() -> str:
    """Return the names of all channels in one text, for a sentence: ``train, validation and images``."""
    *first, last = (channel.name for channel in CHANNELS)
    return f"{', '.join(first)} and {last}"


def channels_markdown() -> str:
    """Return the table of channels in ``docs/training.md`` as Markdown, with a final newline."""
    lines = [
        "| channel | required | content | content types | input modes |",
        "| --- | --- | --- | --- | --- |",
        *(_markdown_row(channel) for channel in CHANNELS),
    ]
    return "\n".join(lines) + "\n"


def _markdown_row(channel: Channel) -> str:
    required = "yes" if channel.is_required else "no"
    types = ", ".join(f"`{name}`" for name in channel.content_types)
    modes = ", ".join(channel.input_modes)
    return f"| `{channel.name}` | {required} | {channel.description.replace('_', chr(92) + '_')} | {types} | {modes} |"
