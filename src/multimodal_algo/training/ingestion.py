"""From a channel's files to a dataset on disk, in bounded memory."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from multimodal_algo.ingest.dataset import DatasetWriter, row_keys
from multimodal_algo.ingest.features import Encoders, build_features
from multimodal_algo.ingest.findings import BadRow, BadRowPolicy, Inspection
from multimodal_algo.ingest.images import SIDE, ImageFiles
from multimodal_algo.ingest.progress import Progress
from multimodal_algo.ingest.scan import Chunk, scan
from multimodal_algo.ingest.sources import Source
from multimodal_algo.schema import FeatureSchema

_LOG = logging.getLogger(__name__)

BAD_ROWS = "bad_rows.csv"
# For the report, which shows few rows, small pictures of the first rows are enough.
_SMALL_SIDE = SIDE // 2
_SMALL_ROWS = 20_000
_PROBE_ROWS = 32

EncodersOf = Callable[[FeatureSchema], Encoders]
"""The frozen networks that a schema needs."""


class _Writer:
    """The sink of a scan."""

    def __init__(self, directory: Path, encoders_of: EncodersOf, keep_images: bool) -> None:
        self._directory = directory
        self._encoders_of = encoders_of
        self._keep_images = keep_images
        self.rows = 0
        self._encoders: Encoders = {}
        self.dataset: DatasetWriter | None = None
        self.probe: dict[str, Sequence[Any]] = {}

    def begin(self, schema: FeatureSchema) -> None:
        self._schema = schema
        self._encoders = self._encoders_of(schema)
        self.dataset = DatasetWriter(schema, self._directory)

    def append(self, chunk: Chunk) -> None:
        assert self.dataset is not None
        side = SIDE if self._keep_images else _SMALL_SIDE if self.rows < _SMALL_ROWS else 0
        if not self.rows:
            self.probe = {column: cells[:_PROBE_ROWS] for column, cells in chunk.cells.items()}
        self.rows += len(chunk)
        features = build_features(self._schema, chunk.cells, len(chunk), self._encoders, side)
        keys = row_keys(self._schema, chunk.cells, len(chunk))
        self.dataset.append(features, chunk.labels, chunk.ids if self._schema.has_id else None, keys)


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
    problem_type
        See `scan`.
    keep_images
        Whether networks are fine-tuned on the images: all are kept then, as JPEGs of the side that networks see.

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
    directory.mkdir(parents=True, exist_ok=True)
    writer = _Writer(directory, encoders_of, keep_images)
    sizes = [source.size for source in sources]
    progress = Progress(sum(sizes) if all(sizes) else 0)
    try:
        inspection = scan(
            sources,
            sink=writer,
            images=images,
            bad_rows=bad_rows,
            progress=progress,
            schema=schema,
            problem_type=problem_type,
        )
    finally:
        if writer.dataset is not None:
            writer.dataset.abandon()
    _write_bad_rows(inspection, directory)
    for warning in inspection.warnings:
        _LOG.warning("%s", warning)
    inspection.raise_for_errors()
    assert writer.dataset is not None
    writer.dataset.close(writer.probe, inspection.largest_row)
    _LOG.info(
        "ingest: %d rows from %d file%s in %.1f s",
        writer.rows, len(sources), "" if len(sources) == 1 else "s", time.monotonic() - started,
    )  # fmt: skip
    return writer.rows


def tell_bad_rows(directory: Path, output_dir: Path) -> None:
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
