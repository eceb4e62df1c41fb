"""The rows of a job, read from its channels (input files) or taken from the checkpoints of a previous start."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from multimodal_algo.core.files import move_files
from multimodal_algo.core.label_checks import LabelSettings
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.execution.protocol import Executor
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.findings import BadRowPolicy
from multimodal_algo.ingest.parts import ReadSettings, report_bad_rows
from multimodal_algo.ingest.reading import read_channel
from multimodal_algo.ingest.sharding import digest_of, unchanged
from multimodal_algo.ingest.sources import TableFormat
from multimodal_algo.training.backbones import Backbones
from multimodal_algo.training.frozen_networks import encoders_for

if TYPE_CHECKING:
    from multimodal_algo.training.context import JobContext

_LOG = logging.getLogger(__name__)

_DIGEST = "digest"


@dataclass(frozen=True)
class ChannelPaths:
    """Paths of a job's channels, which are its input files.

    Parameters
    ----------
    train
        Training rows: a CSV or Parquet file, a directory of such files, or a FIFO.
    validation
        Rows for the metrics, in the same forms as `train`. If it is None, metrics are measured on the training rows,
        out of fold.
    images
        Directory of the image files that image cells name. None if there is no such channel.
    model
        Artifact of a previous job, see `previous.find_artifact`. None if there is no such channel.
    pretrained
        Networks to start from, see `export.pretrained_networks`. None if there is no such channel.
    """

    train: Path
    validation: Path | None = None
    images: Path | None = None
    model: Path | None = None
    pretrained: Path | None = None

    def digests(self, executor: Executor) -> dict[str, str]:
        """Return a digest (hash) of each channel by its name. It changes if the channel's content changes on any host.

        Hashing files takes much less time than reading their rows. For the images channel, only names and sizes are
        hashed. A FIFO always has the same digest, since its content is known only after reading.
        """
        paths = {"train": self.train, "validation": self.validation, "model": self.model, "pretrained": self.pretrained}
        digests = {name: digest_of(path, executor, whole=True) for name, path in paths.items() if path is not None}
        if self.images is not None:
            digests["images"] = digest_of(self.images, executor, whole=False)
        return digests


@dataclass(frozen=True)
class RowReader:
    """Reads the rows of a job's input channels.

    Parameters
    ----------
    context
        The job: its hyperparameters, checkpoints, output directory and executor.
    backbones
        Networks that turn texts and images into vectors.
    images
        Directory of the image files that image cells name. None if there is no ``images`` channel.
    keep_images
        Whether networks are fine-tuned on the images, see `ReadSettings`.
    scratch
        Directory for rows that are being read.
    known_classes
        Classes of the previous model. Empty if there is no previous model.
    """

    context: JobContext
    backbones: Backbones
    images: Path | None
    keep_images: bool
    scratch: Path
    known_classes: Sequence[str] = ()

    def read(self, channel: str, location: Path, schema: FeatureSchema | None, problem_type: str) -> Dataset:
        """Return the rows of one input channel, and save them in the checkpoints.

        Rows that a previous start of the job has saved are not read again. A FIFO is read at every start.

        Parameters
        ----------
        channel
            Name of the channel.
        location
            Path of the channel, see `ChannelPaths`.
        schema
            Columns of the training rows, which other channels must have too. None for the train channel itself.
        problem_type
            The hyperparameter ``problem_type``, or for other channels the problem type of the training rows.

        Raises
        ------
        UserError
            Anything that the user can fix in the data.
        """
        name = f"data/{channel}"
        if location.is_fifo():
            dataset = self.read_once(channel, location, schema, problem_type)
            self._check_piped(name, dataset)
            return dataset
        directory = self.context.checkpoints.find(name)
        if directory is None:
            read = self._read(channel, location, schema, problem_type)
            directory = self.context.checkpoints.save(name, lambda aside: move_files(read, aside))
            return self._load(directory)
        dataset = self._load(directory)
        _LOG.info("ingest: %d rows of %s taken from the checkpoint of a previous start", len(dataset), channel)
        report_bad_rows(directory, self.context.output_dir)
        return dataset

    def read_once(self, channel: str, location: Path, schema: FeatureSchema | None, problem_type: str) -> Dataset:
        """Return the rows of one input channel without looking into the checkpoints. See `read` for the parameters."""
        return self._load(self._read(channel, location, schema, problem_type))

    def _load(self, directory: Path) -> Dataset:
        dataset = Dataset.read(directory)
        # Other processes may have read the rows with networks of their own.
        self.backbones.load(dataset.schema)
        return dataset

    def _read(self, channel: str, location: Path, schema: FeatureSchema | None, problem_type: str) -> Path:
        hyperparameters, executor = self.context.hyperparameters, self.context.executor
        directory = self.scratch / channel
        settings = ReadSettings(
            BadRowPolicy(hyperparameters.on_bad_row == "skip", hyperparameters.max_bad_row_fraction),
            problem_type,
            images=self.images,
            missing=hyperparameters.missing_texts,
            keep_images=self.keep_images,
            is_training=schema is None,
            schema=schema,
            table=TableFormat.of(hyperparameters),
            min_completeness=hyperparameters.min_completeness,
            group_by=hyperparameters.group_columns,
            labels=LabelSettings(
                problem_type,
                hyperparameters.eval_metric,
                hyperparameters.class_weights_by_label(),
                self.known_classes,
                hyperparameters.decisions,
            ),
        )
        encoders_of = encoders_for(self.backbones, executor)
        scratch = self.scratch / f"{channel}.parts"
        try:
            with unchanged(location, executor):
                read_channel(location, directory, encoders_of, settings, executor=executor, scratch=scratch)
        finally:
            report_bad_rows(directory, self.context.output_dir)
        return directory

    def _check_piped(self, name: str, dataset: Dataset) -> None:
        """Check that the rows of a FIFO are those that the checkpoints belong to."""
        digest = hashlib.sha256(dataset.keys.tobytes() + json.dumps(dataset.labels).encode()).hexdigest()
        saved = self.context.checkpoints.find(name)
        if saved is not None and (saved / _DIGEST).read_text(encoding="utf-8") != digest:
            self.context.checkpoints.mismatch(f"other data ({name.removeprefix('data/')})")
        self.context.checkpoints.save(name, lambda aside: _write(aside / _DIGEST, digest))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
