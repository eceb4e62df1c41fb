"""The whole way: rows in, their images made small by many threads, rows out in the same order."""

from __future__ import annotations

import json
import os
import tarfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from multimodal_algo.artifact import CONFIG, ModelConfig
from multimodal_algo.config.inference import on_one_line
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.progress import Progress
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.tools.prepare.images import ImageCells, ImageRules
from multimodal_algo.tools.prepare.rows import InputRow, holds_images_only, read_folder, read_tables

_T = TypeVar("_T")

# What waits for its turn to be written, per core and in all.
_AHEAD_ROWS = 32
_AHEAD_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Prepared:
    """What was written.

    Parameters
    ----------
    output
        Where to.
    rows
        How many.
    images
        How many are in them; 0 where cells were copied as they are.
    size
        Bytes.
    seconds
        It took.
    emptied
        Image cells that were left empty, since their image is missing or cannot be read.
    first_emptied
        Where the first of them is, and why.
    passed_over
        Files of a folder of images that are none.
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
        """For the terminal."""
        told = [f"{self.rows} rows"]
        told += [f"{self.images} images"] if self.images else []
        told += [f"{self.size / 1e6:.1f} MB in {self.seconds:.1f} s"]
        told += [f"{self.passed_over} files that are no images passed over"] if self.passed_over else []
        told += [f"{self.emptied} image cells left empty (the first: {self.first_emptied})"] if self.emptied else []
        return f"{self.output}: {', '.join(told)}"


def prepare_data(
    data: Path,
    output: Path,
    *,
    training: bool = False,
    model: Path | None = None,
    images: ImageRules | None = None,
) -> Prepared:
    """Write the rows of `data` for training or for inference.

    Parameters
    ----------
    data
        A CSV or Parquet file with header or a folder of them; or a folder of images with a sub-folder per class, whose
        rows are ``ID`` (the path below the folder), ``label`` and ``photo_image``.
    output
        ``.csv``, or for inference ``.jsonl``: an object a line, cells as they are.
    training
        Whether header and label are written and newlines in cells stay, as training files have it. Else lines are
        written that may be cut at every newline: without header and label, in CSV with spaces for newlines in cells.
    model
        A ``model.tar.gz``: its columns in its order are written, and must be there.
    images
        What becomes of images; cells are copied as they are without it. A folder of images has the usual rules then.

    Raises
    ------
    UserError
        Data or an image that cannot be read, columns that are no features, or not those of the model.
    """
    _check_name(output, training)
    schema = None if model is None else _schema_of(model)
    if (images is None or images.folder is None) and holds_images_only(data):
        images = images or ImageRules()
        source = read_folder(data, schema, training)
    else:
        source = read_tables(data, schema, training)
        if output.exists() and any(file.samefile(output) for file in source.files):
            raise UserError(f"{output}: the file is read too. Name another one to write.")
    started = time.monotonic()
    rows = made = emptied = 0
    first_emptied = ""
    cells = ImageCells(source.columns, images, training)
    with _whole(output) as stream, Progress("prepare", "rows", source.total or None) as progress:
        write = _writer(stream, output, source.columns, training)
        for row in map(cells.write, source.rows) if images is None else _in_order(cells.write, source.rows):
            write(row.cells)
            rows += 1
            made += row.images
            emptied += len(row.emptied)
            first_emptied = first_emptied or "".join(row.emptied[:1])
            progress.at(rows, row.done)
    seconds = time.monotonic() - started
    return Prepared(output, rows, made, output.stat().st_size, seconds, emptied, first_emptied, source.passed_over)


def _check_name(output: Path, training: bool) -> None:
    if output.suffix not in (".csv", ".jsonl"):
        raise UserError(f"{output}: name the file .csv (for text/csv) or .jsonl (for application/jsonlines).")
    if training and output.suffix != ".csv":
        raise UserError(f"{output}: training reads no JSON Lines. Name the file .csv.")


def _in_order(work: Callable[[InputRow], _T], rows: Iterable[InputRow]) -> Iterator[_T]:
    """What `work` makes of each row, in their order; threads work on the few that follow."""
    workers = os.cpu_count() or 1
    waiting: deque[tuple[Future[_T], int]] = deque()
    held = 0
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prepare")
    try:
        for row in rows:
            waiting.append((pool.submit(work, row), row.size))
            held += row.size
            while len(waiting) > _AHEAD_ROWS * workers or held > _AHEAD_BYTES:
                future, size = waiting.popleft()
                held -= size
                yield future.result()
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _whole(path: Path) -> Iterator[IO[str]]:
    """A file that is there once all of it is written."""
    partly = path.with_name(path.name + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partly.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        os.replace(partly, path)
    finally:
        partly.unlink(missing_ok=True)


def _writer(stream: IO[str], output: Path, columns: Sequence[str], training: bool) -> Callable[[Sequence[str]], object]:
    if output.suffix == ".jsonl":
        return lambda cells: stream.write(_object(columns, cells))
    if training:
        stream.write(_record(columns))
        return lambda cells: stream.write(_record(cells))
    return lambda cells: stream.write(_record([on_one_line(cell) for cell in cells]))


def _object(columns: Sequence[str], cells: Sequence[str]) -> str:
    return json.dumps(dict(zip(columns, cells, strict=True)), ensure_ascii=False) + "\n"


def _record(cells: Sequence[str]) -> str:
    # csv.writer takes a hundred times as long for images, and does not quote carriage returns where lines end without.
    # A record of one empty cell would be a blank line.
    return (",".join(map(_quoted, cells)) or '""') + "\n"


def _quoted(cell: str) -> str:
    if any(special in cell for special in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _schema_of(model: Path) -> FeatureSchema:
    try:
        with tarfile.open(model) as tar:
            for member in tar:
                if member.name.removeprefix("./") == CONFIG and (stream := tar.extractfile(member)) is not None:
                    return ModelConfig.model_validate_json(stream.read()).schema_
    except (tarfile.TarError, OSError, ValueError):
        pass
    raise UserError(f"{model}: this is no model.tar.gz of a training job.")
