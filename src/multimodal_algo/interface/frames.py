"""Conversion of users' data frames to the cells of rows, with the same rules as for Parquet files."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from PIL import Image

from multimodal_algo.core.column_names import ColumnNames
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import Modality, modality_of
from multimodal_algo.ingest.image_formats import IMAGE_SUFFIXES
from multimodal_algo.ingest.parquet import rows_of_table
from multimodal_algo.ingest.sources import find_sources, read_rows

FRAMES = "a data frame of pandas, polars or pyarrow, a dict of columns, a list of dicts, or a path of files"
"""The kinds of data that functions take, in words."""


def frame_of(data: Any) -> pd.DataFrame:
    """Return data as a pandas data frame whose column names are strings. If it is one already, its index is kept.

    Raises
    ------
    UserError
        The data are of another type than those that `FRAMES` names.
    """
    if isinstance(data, str | Path):
        frame = _read(Path(data))
    elif isinstance(data, pd.DataFrame):
        frame = data
    elif isinstance(data, pa.Table):
        frame = data.to_pandas(types_mapper=pd.ArrowDtype)
    elif hasattr(data, "to_arrow"):  # polars
        frame = data.to_arrow().to_pandas(types_mapper=pd.ArrowDtype)
    elif isinstance(data, Mapping):
        frame = pd.DataFrame(dict(data) if any(map(_is_column, data.values())) else [data])
    elif isinstance(data, list) and all(isinstance(row, Mapping) for row in data):
        frame = pd.DataFrame(data)
    else:
        raise UserError(f"The data are of the type {type(data).__name__}. Give {FRAMES}.")
    return frame.set_axis([str(name) for name in frame.columns], axis=1)


def _read(path: Path) -> pd.DataFrame:
    """Return the rows of the CSV and Parquet files at `path`, read in the same way as in training."""
    parts = []
    for source in find_sources(path):
        header, *rows = [row.fields for row in read_rows(source)]
        parts.append(pd.DataFrame(rows, columns=header, dtype=object))
    return pd.concat(parts, ignore_index=True)


def _is_column(value: Any) -> bool:
    return isinstance(value, list | tuple) or hasattr(value, "tolist")


def table_of(frame: pd.DataFrame, names: ColumnNames) -> pa.Table:
    """Return a data frame as an Arrow table. The index is left out.

    Images may be encoded bytes, base64, `PIL.Image.Image`, or paths of files. A cell may also be a list of images. A
    column has images if `names` or the suffix ``_image`` say so, or if a cell holds bytes, a `PIL.Image.Image` or a
    `Path`.

    Raises
    ------
    UserError
        A column holds values that Arrow cannot hold, or an image file cannot be read.
    """
    return pa.table({name: _array(name, frame[name], names) for name in frame.columns})


def cells_of(table: pa.Table, columns: Sequence[str], names: ColumnNames) -> Iterator[list[Any]]:
    """Yield each row as a list of cells, in the order of `columns`.

    `columns` are names with suffixes, for example ``title_text``. The columns of `table` may have the user's own
    `names`. Cells are read as in `rows_of`, and dates become numbers.

    Raises
    ------
    UserError
        A column is missing, or has a type that cannot be read.
    """
    known = [names.canonical(name) for name in table.column_names]
    in_table = names.in_tables(columns)
    if missing := [names.own(column) for column in in_table if column not in known]:
        shown = ", ".join(table.column_names[:12])
        lacking = ", ".join(f"'{column}'" for column in missing)
        raise UserError(f"The data lack the column{'s' * (len(missing) > 1)} {lacking}. Their columns are {shown}.")
    wanted = table.select([table.column_names[known.index(column)] for column in in_table])
    convert = names.cells_in_models(in_table) or list
    yield from map(convert, rows_of_table(wanted, "The data", names))


def _array(name: str, values: pd.Series, names: ColumnNames) -> pa.Array:
    if values.dtype == object:
        cells = [None if _is_missing(value) else value for value in values]
        if modality_of(names.canonical(name)) is Modality.IMAGE or any(map(_is_image, cells)):
            return _images([_image_cell(value, name) for value in cells])
        values = pd.Series(cells, dtype=object)
    elif modality_of(names.canonical(name)) is Modality.IMAGE:
        return _images([None if _is_missing(value) else _image_cell(value, name) for value in values])
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError):
        # Numbers next to texts, for example.
        return pa.array([None if value is None else str(value) for value in values.astype(object)], pa.string())


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)


def _is_image(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_is_image, value))
    return isinstance(value, bytes | Image.Image | Path)


def _image_cell(value: Any, name: str) -> Any:
    """Return the image of a cell as bytes or text, a list of several images, or None for an empty cell."""
    if isinstance(value, list | tuple):
        return [_image_cell(image, name) for image in value]
    if isinstance(value, Image.Image):
        stream = io.BytesIO()
        value.save(stream, "PNG")
        return stream.getvalue()
    if isinstance(value, Path) or _names_a_file(value):
        return _content(Path(value), name)
    return value


def _names_a_file(value: Any) -> bool:
    return isinstance(value, str) and value.lower().endswith(IMAGE_SUFFIXES) and Path(value).is_file()


def _content(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"Column '{name}': the image {path} cannot be read ({error.strerror}).") from None


def _images(cells: Sequence[Any]) -> pa.Array:
    """Return image cells as an Arrow array of bytes.

    If some cells are base64 or hold several images, all become base64.
    """
    if all(cell is None or isinstance(cell, bytes) for cell in cells):
        return pa.array(cells, pa.binary())
    return pa.array([None if cell is None else _text(cell) for cell in cells], pa.string())


def _text(cell: Any) -> str:
    if isinstance(cell, list):
        return ";".join(_text(image) for image in cell)
    return base64.b64encode(cell).decode() if isinstance(cell, bytes) else str(cell)
