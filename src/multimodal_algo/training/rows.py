"""The rows of a job: read from its channels, or found whole in the checkpoints of an earlier start."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.files import move_files
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.execution.protocol import Executor
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.findings import BadRowPolicy
from multimodal_algo.ingest.images import ImageFiles
from multimodal_algo.ingest.reading import Reading, ingest, log_rows, report_bad_rows
from multimodal_algo.ingest.sharding import digest_of, find_shards, read_shards
from multimodal_algo.ingest.sources import find_sources
from multimodal_algo.training.backbones import Backbones
from multimodal_algo.training.checkpoints import Checkpoints
from multimodal_algo.training.frozen_networks import FrozenNetworks

_LOG = logging.getLogger(__name__)

_DIGEST = "digest"


@dataclass(frozen=True)
class Channels:
    """Where a job's data is.

    Parameters
    ----------
    train
        A CSV or Parquet file, a directory of them, or a FIFO.
    validation
        The same; None where metrics are measured out of fold on the training rows.
    images
        Directory of files that image cells may name.
    model
        An earlier artifact to go on from, see `previous.find_artifact`.
    pretrained
        Networks to start from, see `export.pretrained_networks`.
    """

    train: Path
    validation: Path | None = None
    images: Path | None = None
    model: Path | None = None
    pretrained: Path | None = None

    def digests(self, executor: Executor) -> dict[str, str]:
        """Of each channel what changes with its content, on whatever hosts it lies.

        Files are read whole, which takes a small part of what reading their rows takes; of images only names and sizes
        are looked at. What a FIFO holds is known only when it was read.
        """
        found = {"train": self.train, "validation": self.validation, "model": self.model, "pretrained": self.pretrained}
        digests = {name: digest_of(path, executor, whole=True) for name, path in found.items() if path is not None}
        if self.images is not None:
            digests["images"] = digest_of(self.images, executor, whole=False)
        return digests


@dataclass(frozen=True)
class RowReader:
    """Reads the rows of channels.

    Parameters
    ----------
    hyperparameters
        Of the job.
    backbones
        Its frozen networks.
    checkpoints
        Where rows are kept that were read.
    images
        See `Channels`.
    keep_images
        See `ingest`.
    scratch
        Directory for rows that are being read.
    output_dir
        Where ``bad_rows.csv`` goes.
    executor
        Who reads.
    """

    hyperparameters: HyperParameters
    backbones: Backbones
    checkpoints: Checkpoints
    images: Path | None
    keep_images: bool
    scratch: Path
    output_dir: Path
    executor: Executor

    def read(self, channel: str, location: Path, schema: FeatureSchema | None, problem_type: str) -> Dataset:
        """The rows of one channel.

        Parameters
        ----------
        channel
            Its name.
        location
            See `Channels`.
        schema, problem_type
            See `ingest`.

        Raises
        ------
        UserError
            Anything that the user can fix in the data.
        """
        name = f"data/{channel}"
        found = None if location.is_fifo() else self.checkpoints.find(name)
        if found is not None:
            dataset = Dataset.read(found)
            self.backbones.load(dataset.schema)
            _LOG.info("ingest: %d rows of %s taken from the checkpoint of an earlier start", len(dataset), channel)
            report_bad_rows(found, self.output_dir)
            return dataset
        if location.is_fifo():
            dataset = self.read_once(channel, location, schema, problem_type)
            self._recognise(name, dataset)
            return dataset
        directory = self._ingest(channel, location, schema, problem_type)
        return Dataset.read(self.checkpoints.keep(name, lambda aside: move_files(directory, aside)))

    def read_once(self, channel: str, location: Path, schema: FeatureSchema | None, problem_type: str) -> Dataset:
        """The same, read from the channel and not kept."""
        return Dataset.read(self._ingest(channel, location, schema, problem_type))

    def _ingest(self, channel: str, location: Path, schema: FeatureSchema | None, problem_type: str) -> Path:
        directory = self.scratch / channel
        bad_rows = BadRowPolicy(self.hyperparameters.on_bad_row == "skip", self.hyperparameters.max_bad_row_fraction)
        try:
            # A FIFO is read by one process, and other hosts have FIFOs of their own.
            if not self.executor.is_alone and not (location.is_fifo() and len(self.executor.hosts) == 1):
                reading = Reading(bad_rows, problem_type, self.keep_images, is_training=schema is None, schema=schema)
                self._read_shards(location, directory, reading)
            else:
                ingest(
                    find_sources(location),
                    directory,
                    self.backbones.encoders_of,
                    images=None if self.images is None else ImageFiles(self.images),
                    bad_rows=bad_rows,
                    schema=schema,
                    problem_type=problem_type,
                    keep_images=self.keep_images,
                )
        finally:
            report_bad_rows(directory, self.output_dir)
        return directory

    def _read_shards(self, location: Path, directory: Path, reading: Reading) -> None:
        started = time.monotonic()
        shards = find_shards(location, self.executor)
        rows, schema = read_shards(
            shards,
            location,
            directory,
            self.executor,
            encoders_of=FrozenNetworks.of(self.backbones, self.executor).encoders_of,
            images=self.images,
            reading=reading,
            scratch=self.scratch / f"{location.name}.parts",
        )
        self.backbones.load(schema)
        log_rows(rows, len(shards), time.monotonic() - started)

    def _recognise(self, name: str, dataset: Dataset) -> None:
        """Compare rows of a FIFO, which have to be read at every start, with those that the checkpoints are of."""
        digest = hashlib.sha256(dataset.keys.tobytes() + json.dumps(dataset.labels).encode()).hexdigest()
        kept = self.checkpoints.find(name)
        if kept is not None and (kept / _DIGEST).read_text(encoding="utf-8") != digest:
            self.checkpoints.mismatch(f"other data ({name.removeprefix('data/')})")
        self.checkpoints.keep(name, lambda aside: _write(aside / _DIGEST, digest))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
