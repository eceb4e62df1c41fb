"""The rows of a job: read from its channels, or found whole in the checkpoints of an earlier start."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from multimodal_algo.artifact import sha256
from multimodal_algo.errors import UserError
from multimodal_algo.hyperparameters import HyperParameters
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.findings import BadRowPolicy
from multimodal_algo.ingest.images import ImageFiles
from multimodal_algo.ingest.sources import find_sources
from multimodal_algo.schema import FeatureSchema
from multimodal_algo.training.backbones import Backbones
from multimodal_algo.training.checkpoints import Checkpoints
from multimodal_algo.training.ingestion import ingest, tell_bad_rows

_LOG = logging.getLogger(__name__)

_PIPED = "piped"
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
        An earlier artifact to go on from, see `earlier.find_artifact`.
    pretrained
        Networks to start from, see `export.pretrained_networks`.
    """

    train: Path
    validation: Path | None = None
    images: Path | None = None
    model: Path | None = None
    pretrained: Path | None = None

    def digests(self) -> dict[str, str]:
        """Of each channel what changes with its content.

        Files are read whole, which takes a small part of what reading their rows takes; of images only names and sizes
        are looked at. What a FIFO holds is known only when it was read.
        """
        found = {"train": self.train, "validation": self.validation, "model": self.model, "pretrained": self.pretrained}
        digests = {name: _digest(path, whole=True) for name, path in found.items() if path is not None}
        if self.images is not None:
            digests["images"] = _digest(self.images, whole=False)
        return digests


def _digest(location: Path, *, whole: bool) -> str:
    if location.is_fifo():
        return _PIPED
    if not location.exists():
        raise UserError(f"{location}: there is no such file or directory. Give a CSV file or a folder of them.")
    files = [location] if location.is_file() else sorted(path for path in location.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in files:
        name = path.name if path == location else path.relative_to(location).as_posix()
        told = [name, path.stat().st_size, sha256(path) if whole else ""]
        digest.update(json.dumps(told).encode())
    return digest.hexdigest()


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
    """

    hyperparameters: HyperParameters
    backbones: Backbones
    checkpoints: Checkpoints
    images: Path | None
    keep_images: bool
    scratch: Path
    output_dir: Path

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
            tell_bad_rows(found, self.output_dir)
            return dataset
        if location.is_fifo():
            dataset = self.read_once(channel, location, schema, problem_type)
            self._recognise(name, dataset)
            return dataset
        directory = self._ingest(channel, location, schema, problem_type)
        return Dataset.read(self.checkpoints.keep(name, lambda aside: _move(directory, aside)))

    def read_once(self, channel: str, location: Path, schema: FeatureSchema | None, problem_type: str) -> Dataset:
        """The same, read from the channel and not kept."""
        return Dataset.read(self._ingest(channel, location, schema, problem_type))

    def _ingest(self, channel: str, location: Path, schema: FeatureSchema | None, problem_type: str) -> Path:
        directory = self.scratch / channel
        bad_rows = BadRowPolicy(self.hyperparameters.on_bad_row == "skip", self.hyperparameters.max_bad_row_fraction)
        try:
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
            tell_bad_rows(directory, self.output_dir)
        return directory

    def _recognise(self, name: str, dataset: Dataset) -> None:
        """Compare rows of a FIFO, which have to be read at every start, with those that the checkpoints are of."""
        digest = hashlib.sha256(dataset.keys.tobytes() + json.dumps(dataset.labels).encode()).hexdigest()
        kept = self.checkpoints.find(name)
        if kept is not None and (kept / _DIGEST).read_text(encoding="utf-8") != digest:
            self.checkpoints.mismatch(f"other data ({name.removeprefix('data/')})")
        self.checkpoints.keep(name, lambda aside: _write(aside / _DIGEST, digest))


def _move(source: Path, target: Path) -> None:
    for path in source.iterdir():
        shutil.move(path, target / path.name)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
