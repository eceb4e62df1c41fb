"""Reads the rows from which a training or inference file is made: rows of tables, or a folder of images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from multimodal_algo.core.column_names import AS_WRITTEN, ColumnNames
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.headers import listed, schema_of
from multimodal_algo.core.schema import ID, LABEL, FeatureSchema
from multimodal_algo.ingest.image_formats import IMAGE_SUFFIXES
from multimodal_algo.ingest.images import SeveralImages
from multimodal_algo.ingest.sources import Source, TableFormat, find_sources, read_rows

PHOTO = "photo_image"
_TABLE_SUFFIXES = (".csv", ".csv.gz", ".parquet")


@dataclass(frozen=True)
class InputRow:
    """A row that was read and has not been written yet.

    Parameters
    ----------
    where
        File, row and line, for messages.
    cells
        Cells in the order of `Input.columns`. The cell of an image may be a string, bytes or the path of a file.
    done
        How much of the input is read after this row, in the unit of `Input.total`.
    """

    where: str
    cells: list[Any]
    done: int

    @property
    def size(self) -> int:
        """Approximate size of the cells in bytes."""
        return sum(len(cell) for cell in self.cells if isinstance(cell, str | bytes | SeveralImages))


@dataclass(frozen=True)
class Input:
    """The rows of a table or of a folder of images, to be written to another file.

    Parameters
    ----------
    columns
        Columns to write, in order.
    rows
        Iterator over the rows. It can be used once.
    total
        Bytes of the tables, or number of the images. 0 if it is not known.
    files
        Paths of the tables.
    passed_over
        Number of files in a folder of images that are not images.
    """

    columns: tuple[str, ...]
    rows: Iterator[InputRow]
    total: int
    files: tuple[Path, ...] = ()
    passed_over: int = 0


def read_tables(data: Path, schema: FeatureSchema | None, training: bool, names: ColumnNames = AS_WRITTEN) -> Input:
    """Read the rows of the CSV and Parquet files at `data`.

    Parameters
    ----------
    data
        A file, a FIFO, or a folder of files.
    schema
        Columns to read. None means the columns of the first file.
    training
        Whether to read the label too.
    names
        The user's own column names.

    Raises
    ------
    UserError
        There is no table, a table lacks a column, or a column has no known suffix.
    """
    names = replace(names, keeps_dates=True) if training else names.for_lines
    sources = find_sources(data, TableFormat(names=names))
    # The first file is opened once, because a FIFO cannot be read again.
    first = _Table(sources[0])
    if schema is None:
        # For inference, a header without a label is right.
        header = first.header if training or LABEL in first.header else [*first.header, LABEL]
        schema = schema_of(header, sources[0].name)
    columns = schema.columns if training else schema.inference_columns

    def rows() -> Iterator[InputRow]:
        done = 0
        for source in sources:
            yield from (first if source is sources[0] else _Table(source)).rows(columns, done)
            done += source.size

    paths = tuple(source.path for source in sources)
    return Input(columns, rows(), sum(source.size for source in sources), paths)


def holds_images_only(data: Path) -> bool:
    """Return whether `data` is a folder that has images and no table."""
    kinds = Counter(map(_kind, _files_below(data)))
    return kinds["image"] > 0 and kinds["table"] == 0


def read_folder(folder: Path, schema: FeatureSchema | None, training: bool) -> Input:
    """Read each image below `folder` as a row, in the order of paths. Its label is the name of its sub-folder.

    Parameters
    ----------
    folder
        Folder with the layout of torchvision's ``ImageFolder``.
    schema
        Columns to read. None means ``ID``, ``label`` and ``photo_image``.
    training
        Whether to read the label too.

    Raises
    ------
    UserError
        The schema has other columns, a file name is not UTF-8, or a training image is not in a sub-folder.
    """
    header = (ID, LABEL, PHOTO)
    schema = schema or FeatureSchema(header)
    columns = schema.columns if training else schema.inference_columns
    indices = _indices(header, columns, folder.name)
    kinds = Counter(map(_kind, _files_below(folder)))

    def rows() -> Iterator[InputRow]:
        images = (name for name in _files_below(folder) if _kind(name) == "image")
        for done, name in enumerate(images, start=1):
            try:
                name.encode("utf-8")
            except UnicodeEncodeError:
                raise UserError(f"{folder.name}: the name of the file {name!r} is not UTF-8. Rename it.") from None
            label, slash, _ = name.partition("/")
            if training and not slash:
                raise UserError(
                    f"{folder.name}/{name}: the image is not in a sub-folder. Put it into the folder of its class."
                )
            cells = (name, label, folder / name)
            yield InputRow(f"{folder.name}/{name}", [cells[index] for index in indices], done)

    return Input(columns, rows(), kinds["image"], passed_over=kinds["other"])


class _Table:
    """A table with its header, whose rows are read later."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._rows = read_rows(source)
        if (first := next(self._rows, None)) is None:
            raise UserError(f"{source.name}: the file is blank. Put a header line and rows into it.")
        self.header = [str(name) for name in first.fields]

    def rows(self, columns: Sequence[str], before: int) -> Iterator[InputRow]:
        """Yield the cells of `columns` in each row.

        `before` is the total size in bytes of the files that were read before.
        """
        indices = _indices(self.header, columns, self._source.name)
        for row in self._rows:
            if row.fields == self.header:  # of a file that was joined to another
                continue
            where = f"{self._source.name}, row {row.number} (line {row.line})"
            if len(row.fields) != len(self.header):
                raise UserError(
                    f"{where}: {len(row.fields)} fields instead of {len(self.header)}. Quote cells that hold commas."
                )
            yield InputRow(where, [row.fields[index] for index in indices], before + row.offset)


def _indices(header: Sequence[str], columns: Sequence[str], where: str) -> list[int]:
    if missing := [column for column in columns if column not in header]:
        raise UserError(f"{where}: there is no column '{missing[0]}'. The columns are {listed(header)}.")
    return [header.index(column) for column in columns]


def _files_below(folder: Path) -> Iterator[str]:
    """Yield the relative paths of the files below `folder`, folder by folder in the order of names.

    Yields nothing if `folder` is a file.
    """
    # Links are followed, as in torchvision, because the parts of a dataset are often folders of links.
    for here, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in files if not name.startswith(".")):
            yield (Path(here) / name).relative_to(folder).as_posix()


def _kind(name: str) -> str:
    name = name.lower()
    if name.endswith(IMAGE_SUFFIXES):
        return "image"
    return "table" if name.endswith(_TABLE_SUFFIXES) else "other"
