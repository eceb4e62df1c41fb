"""Makes training or inference files. Rows keep their order, and threads shrink the images."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from multimodal_algo.artifact import peek_description
from multimodal_algo.config.inference import on_one_line
from multimodal_algo.core.column_names import AS_WRITTEN
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.progress import Progress
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.tools.prepare.images import ImageCells, ImageRules
from multimodal_algo.tools.prepare.rows import Input, InputRow, holds_images_only, read_folder, read_tables
from multimodal_algo.tools.written import complete_text, csv_record

_T = TypeVar("_T")

# Limits of the rows that wait to be written: their number per core, and their total size.
_AHEAD_ROWS = 32
_AHEAD_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Prepared:
    """The file that `prepare_data` has written, with some figures for the user.

    Parameters
    ----------
    output
        Path of the file.
    rows
        Number of rows.
    images
        Number of images in the rows. 0 if image cells were copied unchanged.
    size
        Size of the file in bytes.
    seconds
        Duration.
    emptied
        Number of image cells that were left empty because their image is missing or cannot be read.
    first_emptied
        Place of the first such cell, and the reason.
    passed_over
        Number of files in a folder of images that are not images.
    """

    output: Path
    rows: int
    images: int
    size: int
    seconds: float
    emptied: int = 0
    first_emptied: str = ""
    passed_over: int = 0

    @property
    def sentence(self) -> str:
        """The result as one line for the terminal: file, rows, images, size and duration."""
        parts = [f"{self.rows} rows"]
        parts += [f"{self.images} images"] if self.images else []
        parts += [f"{self.size / 1e6:.1f} MB in {self.seconds:.1f} s"]
        parts += [f"{self.passed_over} files that are not images passed over"] if self.passed_over else []
        parts += [f"{self.emptied} image cells left empty (the first: {self.first_emptied})"] if self.emptied else []
        return f"{self.output}: {', '.join(parts)}"


def prepare_data(
    data: Path,
    output: Path,
    *,
    training: bool = False,
    model: Path | None = None,
    images: ImageRules | None = None,
) -> Prepared:
    """Write the rows of `data` as a file for training or for inference.

    Parameters
    ----------
    data
        CSV or Parquet file with a header, or a folder of such files. Or a folder of images with one sub-folder for
        each class. Such a folder has the columns ``ID``, which is the path of the image, ``label`` and ``photo_image``.
    output
        Path of the file to write: ``.csv``, or for inference also ``.jsonl``.
    training
        True: the file has a header and the label, and cells keep their newlines. False: the file has neither header nor
        label, and each row is one line. In CSV, newlines inside cells become spaces for this.
    model
        A ``model.tar.gz``. The columns of its model are written, in the model's order.
    images
        How images are written. None copies image cells unchanged. For a folder of images, None means the default rules.

    Raises
    ------
    UserError
        Data or an image cannot be read, a column has no known suffix, or a column of the model is missing.
    """
    _check_name(output, training)
    config = None if model is None else peek_description(model)
    names = AS_WRITTEN if config is None else config.names
    schema = None if config is None else FeatureSchema(names.in_tables(config.columns))
    if (images is None or images.folder is None) and holds_images_only(data):
        images = images or ImageRules()
        source = read_folder(data, schema, training)
    else:
        source = read_tables(data, schema, training, names)
        if output.exists() and any(file.samefile(output) for file in source.files):
            raise UserError(f"{output}: this file is also an input. Name another file to write.")
    return _write(source, ImageCells(source.columns, images, training), output, in_threads=images is not None)


def _write(source: Input, cells: ImageCells, output: Path, *, in_threads: bool) -> Prepared:
    started = time.monotonic()
    rows = image_count = emptied = 0
    first_emptied = ""
    with complete_text(output) as stream, Progress("prepare", "rows", source.total or None) as progress:
        write = _writer(stream, output, source.columns, cells.training)
        for row in _in_order(cells.write, source.rows) if in_threads else map(cells.write, source.rows):
            write(row.cells)
            rows += 1
            image_count += row.images
            emptied += len(row.emptied)
            first_emptied = first_emptied or "".join(row.emptied[:1])
            progress.at(rows, row.done)
    return Prepared(
        output,
        rows,
        image_count,
        size=output.stat().st_size,
        seconds=time.monotonic() - started,
        emptied=emptied,
        first_emptied=first_emptied,
        passed_over=source.passed_over,
    )


def _check_name(output: Path, training: bool) -> None:
    if output.suffix not in (".csv", ".jsonl"):
        raise UserError(f"{output}: name the file .csv (for text/csv) or .jsonl (for application/jsonlines).")
    if training and output.suffix != ".csv":
        raise UserError(f"{output}: training does not read JSON Lines. Name the file .csv.")


def _in_order(work: Callable[[InputRow], _T], rows: Iterable[InputRow]) -> Iterator[_T]:
    """Yield the result of `work` for each row, in the order of the rows. Threads work on later rows in the meantime."""
    workers = os.cpu_count() or 1
    waiting: deque[tuple[Future[_T], int]] = deque()
    waiting_bytes = 0
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prepare")
    try:
        for row in rows:
            waiting.append((pool.submit(work, row), row.size))
            waiting_bytes += row.size
            while len(waiting) > _AHEAD_ROWS * workers or waiting_bytes > _AHEAD_BYTES:
                future, size = waiting.popleft()
                waiting_bytes -= size
                yield future.result()
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        pool.shutdown(cancel_futures=True)


def _writer(stream: IO[str], output: Path, columns: Sequence[str], training: bool) -> Callable[[Sequence[str]], object]:
    if output.suffix == ".jsonl":
        return lambda cells: stream.write(_object(columns, cells))
    if training:
        stream.write(csv_record(columns))
        return lambda cells: stream.write(csv_record(cells))
    return lambda cells: stream.write(csv_record([on_one_line(cell) for cell in cells]))


def _object(columns: Sequence[str], cells: Sequence[str]) -> str:
    return json.dumps(dict(zip(columns, cells, strict=True)), ensure_ascii=False) + "\n"
