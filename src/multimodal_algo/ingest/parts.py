"""Reads a channel in parts: a part is some of its files, read once into a dataset.

All parts are joined into one dataset.

Memory stays bounded, whatever the size of the files.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

from multimodal_algo.core.disks import may_fail
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.headers import schema_of
from multimodal_algo.core.label_checks import LabelSettings
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.ingest.cells import CellRules
from multimodal_algo.ingest.dataset import DatasetWriter, join_datasets, write_warnings
from multimodal_algo.ingest.decoded import DecodedImages
from multimodal_algo.ingest.features import Encoders, Features, build_features, image_input
from multimodal_algo.ingest.findings import NO_HEADER, BadRow, BadRowPolicy, Findings, Inspection
from multimodal_algo.ingest.groups import check_group_columns
from multimodal_algo.ingest.images import ImageFiles
from multimodal_algo.ingest.keys import row_keys
from multimodal_algo.ingest.progress import Progress
from multimodal_algo.ingest.scan import Chunk, collect
from multimodal_algo.ingest.sources import STANDARD, Source, TableFormat, read_rows

_LOG = logging.getLogger(__name__)

BAD_ROWS = "bad_rows.csv"
# The report shows few rows, so small pictures of the first rows are enough for it.
_SMALL_SIDE = 112
_SMALL_ROWS = 20_000
_PROBE_ROWS = 32

EncodersOf = Callable[[FeatureSchema], Encoders]
"""Function that returns the encoders of the modalities that a schema has."""


@dataclass(frozen=True)
class ReadSettings:
    """The settings with which all parts of a channel (groups of its files) are read. They can be pickled.

    Parameters
    ----------
    bad_rows
        Treatment of rows that cannot be read.
    problem_type
        The hyperparameter, see `scan`.
    images
        Directory of the files that image cells may name, the same on every host. None without an ``images`` channel.
    missing
        Texts that count as a missing cell, see `CellRules`.
    keep_images
        Whether networks are fine-tuned on the images. Then every row keeps its picture in the size that networks need.
        Otherwise only the first rows keep a small picture, for the report.
    is_training
        Whether models learn from the rows. The rows of other channels may be few, and of one class.
    schema
        The columns that every header must have. None if the first header of the channel decides. Then a single part
        must have all files.
    first_file
        Name, for messages, of the file or files that `schema` comes from.
    table
        Separator of the cells, and names of the columns.
    labels
        Settings that restrict the labels. By default only the problem type does.
    min_completeness
        The hyperparameter: least share of a row's cells of one modality that must be filled.
    group_by
        Columns that the rows must have, see `check_group_columns`.
    """

    bad_rows: BadRowPolicy
    problem_type: str = "auto"
    images: Path | None = None
    missing: frozenset[str] = frozenset()
    keep_images: bool = False
    is_training: bool = True
    schema: FeatureSchema | None = None
    first_file: str = "training"
    table: TableFormat = STANDARD
    labels: LabelSettings | None = None
    min_completeness: float = 0.0
    group_by: tuple[str, ...] = ()

    @property
    def rules(self) -> CellRules:
        """How the cells of the rows are parsed."""
        return CellRules(None if self.images is None else ImageFiles(self.images), self.missing, names=self.table.names)


@dataclass(frozen=True)
class Part:
    """The result of reading a part of a channel (some of its files). It can be pickled.

    Parameters
    ----------
    findings
        Problems and statistics of the rows.
    schema
        The columns. None if no header could be read.
    rows
        Number of rows in the part's dataset. If it is 0, there is no dataset: no row can be read, or there are errors.
    """

    findings: Findings
    schema: FeatureSchema | None
    rows: int


class _DatasetSink:
    """Receives the rows of a part, turns texts and images into vectors, and writes a dataset."""

    def __init__(self, directory: Path, encoders_of: EncodersOf, keep_images: bool, group_by: tuple[str, ...]) -> None:
        self._directory = directory
        self._encoders_of = encoders_of
        self._keep_images = keep_images
        self._group_by = group_by
        self.rows = 0
        self._encoders: Encoders = {}
        self._dataset: DatasetWriter | None = None
        self._probe: dict[str, Sequence[Any]] = {}

    def begin(self, schema: FeatureSchema, rules: CellRules) -> CellRules:
        """Take the columns and load the networks, see `Sink.begin`."""
        check_group_columns(schema, self._group_by)
        self._schema = schema
        self._encoders = self._encoders_of(schema)
        return replace(rules, image_input=image_input(self._encoders), prepare=self._prepare)

    def _prepare(self, images: DecodedImages) -> None:
        """Compute hash and pictures of a cell's images in the thread that has decoded them."""
        if images:
            _ = images.key
            if self._keep_images or self.rows < _SMALL_ROWS:
                images.pictures(self._picture_side)

    @property
    def _picture_side(self) -> int:
        return image_input(self._encoders).side if self._keep_images else _SMALL_SIDE

    def append(self, chunk: Chunk) -> None:
        """Write a chunk of rows into the dataset, see `Sink.append`."""
        if self._dataset is None:
            self._dataset = DatasetWriter(self._schema, self._directory)
            self._probe = {column: cells[:_PROBE_ROWS] for column, cells in chunk.cells.items()}
        features = self._features(chunk)
        keys = row_keys(self._schema, chunk.cells, len(chunk))
        self._dataset.append(features, chunk.labels, chunk.ids if self._schema.has_id else None, keys)
        self.rows += len(chunk)

    def _features(self, chunk: Chunk) -> Features:
        with_picture = len(chunk) if self._keep_images else min(max(_SMALL_ROWS - self.rows, 0), len(chunk))
        side = self._picture_side if with_picture else 0
        features = build_features(self._schema, chunk.cells, len(chunk), self._encoders, side)
        if with_picture == len(chunk):
            return features
        pictures = {column: pictures.only_first(with_picture) for column, pictures in features.pictures.items()}
        return replace(features, pictures=pictures)

    def close(self, largest_row: int) -> None:
        """Finish the dataset, if any row was written."""
        if self._dataset is not None:
            self._dataset.close(self._probe, largest_row)

    def abandon(self) -> None:
        """Remove the files of the dataset, unless it is finished."""
        if self._dataset is not None:
            self._dataset.abandon()


def first_header(sources: Sequence[Source]) -> tuple[FeatureSchema, str]:
    """Return the columns of a channel, from its first file with a header, and the name of this file. No row is read.

    Parameters
    ----------
    sources
        Files of the channel. They must not be FIFOs, which can be read only once.

    Raises
    ------
    UserError
        The first file that is not blank does not begin with a training header, or all files are blank.
    """
    for source in sources:
        for row in read_rows(source):
            return schema_of(row.fields, source.name), source.name
    raise UserError(NO_HEADER)


def read_part(sources: Sequence[Source], directory: Path, encoders_of: EncodersOf, settings: ReadSettings) -> Part:
    """Read a part of a channel (some of its files) once, and write its rows as a dataset into `directory`.

    Checks that need the rows of the whole channel are left to `join_parts`.

    Parameters
    ----------
    sources
        Files that follow each other in the channel, or a single FIFO.
    directory
        Directory for the dataset, made when missing.
    encoders_of
        Function that loads networks. It is called once, after the first header.
    settings
        The settings of all parts.
    """
    directory.mkdir(parents=True, exist_ok=True)
    sizes = [source.size for source in sources]
    findings = Findings(settings.bad_rows, settings.problem_type, settings.min_completeness)
    sink = _DatasetSink(directory, encoders_of, settings.keep_images, settings.group_by)
    try:
        schema = collect(
            sources,
            findings,
            sink=sink,
            rules=settings.rules,
            progress=Progress(sum(sizes) if all(sizes) else 0),
            schema=settings.schema,
            first_file=settings.first_file,
        )
        if findings.has_errors:
            return Part(findings, schema, 0)
        sink.close(findings.largest_row)
        return Part(findings, schema, sink.rows)
    finally:
        sink.abandon()


def join_parts(parts: Sequence[tuple[Part, Path]], directory: Path, settings: ReadSettings) -> int:
    """Join the datasets of all parts of a channel into one, after checks of all rows together.

    Bad rows are listed in ``bad_rows.csv`` in `directory`. Rows, warnings and errors do not depend on the number of
    parts. Vectors may differ by rounding, because networks get the rows in other batches. The probe rows are the first
    rows of the first part.

    Parameters
    ----------
    parts
        Parts in the order of their files, each with the directory that `read_part` wrote into. If only one of them has
        rows, its files are moved. Otherwise files are copied.
    directory
        Directory for the joined dataset, made when missing. It may be the directory of a single part.
    settings
        The settings with which the parts were read.

    Returns
    -------
    int
        Number of rows in the dataset, which `Dataset.read` reads.

    Raises
    ------
    UserError
        The data has a problem that the user can fix.
    """
    directory.mkdir(parents=True, exist_ok=True)
    findings = Findings(settings.bad_rows, settings.problem_type, settings.min_completeness)
    for part, _ in parts:
        findings.merge(part.findings)
    schema = next((part.schema for part, _ in parts if part.schema is not None), None)
    inspection = findings.inspection(
        schema, is_training=settings.is_training, labels=settings.labels, names=settings.table.names
    )
    _write_bad_rows(inspection, directory)
    for warning in inspection.warnings:
        _LOG.warning("%s", warning)
    inspection.raise_for_errors()
    filled = [path for part, path in parts if part.rows]
    join_datasets(filled, directory, inspection.largest_row, None if settings.keep_images else _SMALL_ROWS)
    write_warnings(inspection.warnings, directory)
    return inspection.rows


def report_bad_rows(directory: Path, output_dir: Path) -> None:
    """Append the bad rows that `join_parts` has listed in `directory` to ``bad_rows.csv`` in `output_dir`."""
    if not (directory / BAD_ROWS).is_file():
        return
    lines = (directory / BAD_ROWS).read_text(encoding="utf-8")
    with may_fail(BAD_ROWS, output_dir), (output_dir / BAD_ROWS).open("a", encoding="utf-8", newline="") as stream:
        # The file has one header, above the rows of the first channel.
        stream.write(lines if stream.tell() == 0 else lines.partition("\n")[2])


def _write_bad_rows(inspection: Inspection, directory: Path) -> None:
    if not inspection.bad_rows:
        return
    with (directory / BAD_ROWS).open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow([field.name for field in fields(BadRow)])
        table.writerows(astuple(row) for row in inspection.bad_rows)
