"""What is prepared: the rows of tables, or the files of a folder of images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import ID, LABEL, FeatureSchema
from multimodal_algo.ingest.images import IMAGE_SUFFIXES
from multimodal_algo.ingest.sources import Source, find_sources, read_rows

PHOTO = "photo_image"
_TABLE_SUFFIXES = (".csv", ".csv.gz", ".parquet")


@dataclass(frozen=True)
class InputRow:
    """One row to write.

    Parameters
    ----------
    where
        File, row and line, as messages show them.
    cells
        In the order of `Input.columns`: strings, and of an image also its bytes or the path of its file.
    done
        How much of `Input.total` is read with it.
    """

    where: str
    cells: list[Any]
    done: int

    @property
    def size(self) -> int:
        """About its bytes in memory."""
        return sum(len(cell) for cell in self.cells if isinstance(cell, str | bytes))


@dataclass(frozen=True)
class Input:
    """The rows to write.

    Parameters
    ----------
    columns
        To write, in order.
    rows
        To be read once.
    total
        Bytes of the files, or number of files; 0 where it is not known.
    files
        The tables.
    passed_over
        Files of a folder of images that are none.
    """

    columns: tuple[str, ...]
    rows: Iterator[InputRow]
    total: int
    files: tuple[Path, ...] = ()
    passed_over: int = 0


def read_tables(data: Path, schema: FeatureSchema | None, training: bool) -> Input:
    """The rows of the CSV and Parquet files at `data`.

    Parameters
    ----------
    data
        A file, a FIFO, or a folder of files.
    schema
        Whose columns are wanted; those of the first file else.
    training
        Whether the label is wanted too.

    Raises
    ------
    UserError
        There is no table, or its columns are not those wanted or no columns at all.
    """
    sources = find_sources(data)
    # Opened once: a FIFO cannot be read again.
    first = _Table(sources[0])
    if schema is None:
        # Without a label a header is sound for inference.
        header = first.header if training or LABEL in first.header else [*first.header, LABEL]
        schema = FeatureSchema.from_header(header, sources[0].name)
    columns = schema.columns if training else schema.inference_columns

    def rows() -> Iterator[InputRow]:
        done = 0
        for source in sources:
            yield from (first if source is sources[0] else _Table(source)).rows(columns, done)
            done += source.size

    paths = tuple(source.path for source in sources)
    return Input(columns, rows(), sum(source.size for source in sources), paths)


def holds_images_only(data: Path) -> bool:
    """Whether `data` is a folder of images without a table."""
    kinds = Counter(map(_kind, _files_below(data)))
    return kinds["image"] > 0 and kinds["table"] == 0


def read_folder(folder: Path, schema: FeatureSchema | None, training: bool) -> Input:
    """The images below `folder`, ordered by path, as rows; a sub-folder's name is the label of all images below it.

    Hidden files are passed over without a word.

    Parameters
    ----------
    folder
        As torchvision's ``ImageFolder`` has it.
    schema
        Whose columns are wanted; ``ID``, ``label`` and ``photo_image`` else.
    training
        Whether the label is wanted too.

    Raises
    ------
    UserError
        Columns that a folder does not give, a name that is not UTF-8; with `training` an image in no sub-folder.
    """
    header = (ID, LABEL, PHOTO)
    schema = schema or FeatureSchema(header)
    columns = schema.columns if training else schema.inference_columns
    places = _places(header, columns, folder.name)
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
                raise UserError(f"{folder.name}/{name}: its folder is its class. Put it into a sub-folder.")
            cells = (name, label, folder / name)
            yield InputRow(f"{folder.name}/{name}", [cells[place] for place in places], done)

    return Input(columns, rows(), kinds["image"], passed_over=kinds["other"])


class _Table:
    """A file whose header is read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._rows = read_rows(source)
        if (first := next(self._rows, None)) is None:
            raise UserError(f"{source.name}: the file is blank. Put a header line and rows into it.")
        self.header = [str(name) for name in first.fields]

    def rows(self, columns: Sequence[str], before: int) -> Iterator[InputRow]:
        """The cells of `columns` in each row; `before` were the bytes of other files."""
        places = _places(self.header, columns, self._source.name)
        for row in self._rows:
            where = f"{self._source.name}, row {row.number} (line {row.line})"
            if len(row.fields) != len(self.header):
                raise UserError(
                    f"{where}: {len(row.fields)} fields instead of {len(self.header)}. Quote cells that hold commas."
                )
            yield InputRow(where, [row.fields[place] for place in places], before + row.offset)


def _places(header: Sequence[str], columns: Sequence[str], where: str) -> list[int]:
    if missing := [column for column in columns if column not in header]:
        raise UserError(f"{where}: there is no column '{missing[0]}'. Found: {', '.join(header)[:200]}.")
    return [header.index(column) for column in columns]


def _files_below(folder: Path) -> Iterator[str]:
    """The paths of files below `folder`, folder by folder in the order of names; none below what is no folder."""
    # Links are followed, as torchvision does: a dataset's parts are often folders of links.
    for here, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in files if not name.startswith(".")):
            yield (Path(here) / name).relative_to(folder).as_posix()


def _kind(name: str) -> str:
    name = name.lower()
    if name.endswith(IMAGE_SUFFIXES):
        return "image"
    return "table" if name.endswith(_TABLE_SUFFIXES) else "other"
