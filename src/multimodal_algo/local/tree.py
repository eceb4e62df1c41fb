"""Makes the directories of a training job that stand for ``/opt/ml``, with config files as SageMaker writes them."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from multimodal_algo.core.storage import Location, local_path

_HOST = "algo-1"
_INSTANCE = "local"
_GROUP = "homogeneousCluster"


class InputMode(StrEnum):
    """How the data of a channel (input) arrives: as files, as files that are streamed, or through a FIFO."""

    FILE = "File"
    FAST_FILE = "FastFile"
    PIPE = "Pipe"


@dataclass(frozen=True)
class ChannelData:
    """The data of one channel (a named input of a training job).

    Parameters
    ----------
    path
        A file, a folder, or an ``s3://`` URI.
    content_type
        Content type in the job's settings.
    mode
        Input mode in the job's settings.
    """

    path: Location
    content_type: str = "text/csv"
    mode: InputMode = InputMode.FILE


def build_training_tree(
    base: Path, channels: Mapping[str, ChannelData], hyperparameters: Mapping[str, str], checkpoints: Path | None = None
) -> None:
    """Make the directories and config files of a training job below `base`.

    Parameters
    ----------
    base
        An empty directory.
    channels
        Data of each channel, by the channel's name.
    hyperparameters
        Values of hyperparameters by name. They are passed as strings, as on SageMaker.
    checkpoints
        Folder for the job's checkpoints, created if it does not exist. The checkpoint directory becomes a link to it.
        None means an empty directory.
    """
    for directory in ("input/config", "input/data", "model", "output/data"):
        (base / directory).mkdir(parents=True)
    _place_checkpoints(base, checkpoints)
    _write(base, "hyperparameters", {name: str(value) for name, value in hyperparameters.items()})
    _write(base, "inputdataconfig", {name: _channel_config(channel) for name, channel in channels.items()})
    _write(base, "resourceconfig", _resource_config())
    for name, channel in channels.items():
        if channel.mode is InputMode.PIPE:
            os.mkfifo(base / "input/data" / f"{name}_0")
            continue
        _place(local_path(channel.path), base / "input/data" / name)
        # The platform writes such a file next to the directory of each channel.
        (base / "input/data" / f"{name}-manifest").write_text("[]\n", encoding="utf-8")


@contextmanager
def filled_pipes(base: Path, channels: Mapping[str, ChannelData]) -> Iterator[None]:
    """As long as the context is open, write the files of each channel (input) in Pipe mode into its FIFO."""
    with ExitStack() as stack:
        for name, channel in channels.items():
            if channel.mode is InputMode.PIPE:
                stack.enter_context(_filled(base / "input/data" / f"{name}_0", local_path(channel.path)))
        yield


@contextmanager
def _filled(fifo: Path, source: Path) -> Iterator[None]:
    files = [source] if source.is_file() else [path for path in sorted(source.rglob("*")) if path.is_file()]

    def fill() -> None:
        # A program may end before it has read everything, or without reading anything.
        with suppress(BrokenPipeError), fifo.open("wb") as target:
            for path in files:
                with path.open("rb") as stream:
                    shutil.copyfileobj(stream, target)

    filler = threading.Thread(target=fill, daemon=True)
    filler.start()
    try:
        yield
    finally:
        # A short-lived reader ends the wait of a filler whose program never opened the FIFO.
        while filler.is_alive():
            os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
            filler.join(0.1)


def _channel_config(channel: ChannelData) -> dict[str, str]:
    return {
        "ContentType": channel.content_type,
        # For the program, FastFile is the same as File.
        "TrainingInputMode": "Pipe" if channel.mode is InputMode.PIPE else "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }


def _resource_config() -> dict[str, Any]:
    return {
        "current_host": _HOST,
        "current_instance_type": _INSTANCE,
        "current_group_name": _GROUP,
        "hosts": [_HOST],
        "network_interface_name": "eth0",
        "instance_groups": [{"instance_group_name": _GROUP, "instance_type": _INSTANCE, "hosts": [_HOST]}],
    }


def _place_checkpoints(base: Path, folder: Path | None) -> None:
    if folder is None:
        (base / "checkpoints").mkdir()
        return
    folder.mkdir(parents=True, exist_ok=True)
    # A link, not a copy: checkpoints are in the folder even if this process is killed.
    (base / "checkpoints").symlink_to(folder.resolve(), target_is_directory=True)
    _write(base, "checkpointconfig", {"LocalPath": "/opt/ml/checkpoints", "S3Uri": folder.resolve().as_uri()})


def _write(base: Path, name: str, content: Mapping[str, Any]) -> None:
    (base / f"input/config/{name}.json").write_text(json.dumps(content), encoding="utf-8")


def _place(source: Path, channel: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, channel, copy_function=_link_or_copy)
    else:
        channel.mkdir()
        _link_or_copy(str(source), str(channel / source.name))


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(Path(source).resolve(), target)
    except OSError:  # another file system
        shutil.copy2(source, target)
