"""From a channel's files to a dataset on disk, in bounded memory."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.ingest.dataset import DatasetWriter, join_datasets, row_keys
from multimodal_algo.ingest.features import Encoders, build_features
from multimodal_algo.ingest.findings import NO_HEADER, BadRow, BadRowPolicy, Findings, Inspection
from multimodal_algo.ingest.images import SIDE, ImageFiles
from multimodal_algo.ingest.progress import Progress
from multimodal_algo.ingest.scan import Chunk, collect
from multimodal_algo.ingest.sources import Source, read_rows

_LOG = logging.getLogger(__name__)

BAD_ROWS = "bad_rows.csv"
# For the report, which shows few rows, small pictures of the first rows are enough.
_SMALL_SIDE = SIDE // 2
_SMALL_ROWS = 20_000
_PROBE_ROWS = 32

EncodersOf = Callable[[FeatureSchema], Encoders]
"""The frozen networks that a schema needs."""


@dataclass(frozen=True)
class Reading:
    """How a channel is read: the same for all its parts.

    Parameters
    ----------
    bad_rows
        What to do with rows that cannot be read.
    problem_type
        The hyperparameter, see `scan`.
    keep_images
        Whether networks are fine-tuned on the images: all are kept then, as JPEGs of the side that networks see.
    is_training
        Whether the rows are trained on; those of other channels may be few and of one class.
    schema
        The columns that the headers must have; None where a single part holds the whole channel: those of its first
        file.
    first_file
        What messages call the files that have the columns of `schema`.
    """

    bad_rows: BadRowPolicy
    problem_type: str = "auto"
    keep_images: bool = False
    is_training: bool = True
    schema: FeatureSchema | None = None
    first_file: str = "training"


@dataclass(frozen=True)
class Part:
    """What reading some files of a channel has found; it can be pickled.

    Parameters
    ----------
    findings
        Of all rows.
    schema
        The columns; None when no header could be read.
    rows
        Those in the part's dataset; 0 where there is none, since no row can be read or errors were found.
    """

    findings: Findings
    schema: FeatureSchema | None
    rows: int


class _Writer:
    """The sink of a pass."""

    def __init__(self, directory: Path, encoders_of: EncodersOf, keep_images: bool) -> None:
        self._directory = directory
        self._encoders_of = encoders_of
        self._keep_images = keep_images
        self.rows = 0
        self._encoders: Encoders = {}
        self._dataset: DatasetWriter | None = None
        self._probe: dict[str, Sequence[Any]] = {}

    def begin(self, schema: FeatureSchema) -> None:
        self._schema = schema
        self._encoders = self._encoders_of(schema)

    def append(self, chunk: Chunk) -> None:
        if self._dataset is None:
            self._dataset = DatasetWriter(self._schema, self._directory)
            self._probe = {column: cells[:_PROBE_ROWS] for column, cells in chunk.cells.items()}
        pictured = len(chunk) if self._keep_images else min(max(_SMALL_ROWS - self.rows, 0), len(chunk))
        side = SIDE if self._keep_images else _SMALL_SIDE if pictured else 0
        features = build_features(self._schema, chunk.cells, len(chunk), self._encoders, side)
        if pictured < len(chunk):
            kept = {column: pictures.of_first(pictured) for column, pictures in features.pictures.items()}
            features = replace(features, pictures=kept)
        keys = row_keys(self._schema, chunk.cells, len(chunk))
        self._dataset.append(features, chunk.labels, chunk.ids if self._schema.has_id else None, keys)
        self.rows += len(chunk)

    def close(self, largest_row: int) -> None:
        if self._dataset is not None:
            self._dataset.close(self._probe, largest_row)

    def abandon(self) -> None:
        if self._dataset is not None:
            self._dataset.abandon()


def ingest(
    sources: Sequence[Source],
    directory: Path,
    encoders_of: EncodersOf,
    *,
    images: ImageFiles | None,
    bad_rows: BadRowPolicy,
    schema: FeatureSchema | None = None,
    problem_type: str = "auto",
    keep_images: bool = False,
) -> int:
    """Read `sources` once, check every row, and write the dataset into `directory`, with ``bad_rows.csv`` if any.

    Parameters
    ----------
    sources
        The files of the channel.
    directory
        Where the dataset goes; made when missing.
    encoders_of
        Called with the schema when the first header was read.
    images
        Files that image cells may name.
    bad_rows
        What to do with rows that cannot be read.
    schema
        The columns of the training files, for any other channel, which may have few rows and classes.
    problem_type, keep_images
        See `Reading`.

    Returns
    -------
    int
        Rows in the dataset, which `Dataset.read` reads.

    Raises
    ------
    UserError
        Anything that the user can fix in the data.
    """
    started = time.monotonic()
    reading = Reading(bad_rows, problem_type, keep_images, is_training=schema is None, schema=schema)
    part = read_part(sources, directory, encoders_of, images=images, reading=reading)
    rows = join_parts([(part, directory)], directory, reading)
    log_rows(rows, len(sources), time.monotonic() - started)
    return rows


def first_header(sources: Sequence[Source]) -> tuple[FeatureSchema, str]:
    """The columns of a channel, and the name of the file that they were read from; no row is read.

    Parameters
    ----------
    sources
        The files of the channel; no FIFO, which can be read once only.

    Raises
    ------
    UserError
        The first file with anything in it has no header that can be trained on, or none has anything in it.
    """
    for source in sources:
        for row in read_rows(source):
            return FeatureSchema.from_header(row.fields, source.name), source.name
    raise UserError(NO_HEADER)


def read_part(
    sources: Sequence[Source],
    directory: Path,
    encoders_of: EncodersOf,
    *,
    images: ImageFiles | None,
    reading: Reading,
) -> Part:
    """Read some files of a channel that follow each other, once, and write a dataset of their rows into `directory`.

    Nothing is judged yet that takes the whole channel, see `join_parts`.

    Parameters
    ----------
    sources
        The files; a FIFO is a part of its own.
    directory
        Where the dataset goes; made when missing.
    encoders_of
        Called with the schema when the first header was read.
    images
        Files that image cells may name.
    reading
        The same for all parts.
    """
    directory.mkdir(parents=True, exist_ok=True)
    sizes = [source.size for source in sources]
    findings = Findings(reading.bad_rows, reading.problem_type)
    writer = _Writer(directory, encoders_of, reading.keep_images)
    try:
        schema = collect(
            sources,
            findings,
            sink=writer,
            images=images,
            progress=Progress(sum(sizes) if all(sizes) else 0),
            schema=reading.schema,
            first_file=reading.first_file,
        )
        if findings.has_errors:
            return Part(findings, schema, 0)
        writer.close(findings.largest_row)
        return Part(findings, schema, writer.rows)
    finally:
        writer.abandon()


def join_parts(parts: Sequence[tuple[Part, Path]], directory: Path, reading: Reading) -> int:
    """Judge what all parts of a channel have found, and make one dataset of theirs, with ``bad_rows.csv`` if any.

    Rows, warnings and errors are those of a single part with all files. Vectors may differ by rounding, since networks
    get the rows in other batches, and the probe has the first rows of the first part.

    Parameters
    ----------
    parts
        In the order of the files, each with the directory that `read_part` wrote into. If one only has rows, its files
        are moved, else they are copied.
    directory
        Where the dataset goes; made when missing. That of a single part may be it.
    reading
        How the parts were read.

    Returns
    -------
    int
        Rows in the dataset, which `Dataset.read` reads.

    Raises
    ------
    UserError
        Anything that the user can fix in the data.
    """
    directory.mkdir(parents=True, exist_ok=True)
    findings = Findings(reading.bad_rows, reading.problem_type)
    for part, _ in parts:
        findings.merge(part.findings)
    schema = next((part.schema for part, _ in parts if part.schema is not None), None)
    inspection = findings.inspection(schema, is_training=reading.is_training)
    _write_bad_rows(inspection, directory)
    for warning in inspection.warnings:
        _LOG.warning("%s", warning)
    inspection.raise_for_errors()
    filled = [path for part, path in parts if part.rows]
    join_datasets(filled, directory, inspection.largest_row, None if reading.keep_images else _SMALL_ROWS)
    return inspection.rows


def log_rows(rows: int, files: int, seconds: float) -> None:
    """Log that the rows of a channel were read."""
    _LOG.info("ingest: %d rows from %d file%s in %.1f s", rows, files, "" if files == 1 else "s", seconds)


def report_bad_rows(directory: Path, output_dir: Path) -> None:
    """Add the bad rows that `ingest` has listed in `directory` to those in `output_dir`."""
    if not (directory / BAD_ROWS).is_file():
        return
    lines = (directory / BAD_ROWS).read_text(encoding="utf-8")
    output_dir.mkdir(parents=True, exist_ok=True)
    told = output_dir / BAD_ROWS
    with told.open("a", encoding="utf-8", newline="") as stream:
        stream.write(lines if stream.tell() == 0 else lines.partition("\n")[2])


def _write_bad_rows(inspection: Inspection, directory: Path) -> None:
    if not inspection.bad_rows:
        return
    with (directory / BAD_ROWS).open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow([field.name for field in fields(BadRow)])
        table.writerows(astuple(row) for row in inspection.bad_rows)
