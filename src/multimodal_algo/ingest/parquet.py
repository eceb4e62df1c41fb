"""Rows of Parquet files, with the same column names and cells as rows of CSV files.

Every cell becomes a string. An image may be base64, as in CSV, or the bytes of the encoded image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from multimodal_algo.core.errors import UserError

_BATCH_ROWS = 64


def read_parquet(path: Path, name: str, first: int = 0) -> Iterator[tuple[int, list[Any], int]]:
    """Yield the column names as row 0, and then the rows.

    Null becomes the empty cell. Whole numbers do not get a decimal point. Booleans become ``true`` and ``false``.

    Parameters
    ----------
    path
        The file.
    name
        Name of the file in messages.
    first
        Number of rows that are passed over.

    Yields
    ------
    tuple
        Number of the row, its cells, and the bytes of the file that were read so far.

    Raises
    ------
    UserError
        The file is not Parquet, or a column holds lists, structures or another nested type.
    """
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            yield 0, list(file.schema_arrow.names), 0
            size, rows = path.stat().st_size, max(file.metadata.num_rows, 1)
            for number, cells in enumerate(rows_of(file, name, first), start=first + 1):
                yield number, cells, size * number // rows
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n")[0][:120]
        raise UserError(f"{name}: not readable as Parquet ({reason}). Upload it again.") from None


def rows_of(file: pq.ParquetFile, name: str, first: int = 0) -> Iterator[list[Any]]:
    """Yield the cells of each row, in the order of the file's columns. The `first` rows are passed over.

    Raises
    ------
    UserError
        A column holds lists, structures or another nested type. `name` is the file's name in the message.
    """
    for field in file.schema_arrow:
        if pa.types.is_nested(field.type):
            raise UserError(
                f"{name}, column {field.name}: the type {field.type} is not read. "
                "Store strings, numbers, booleans or (for images) bytes."
            )
    group = 0
    while group < file.num_row_groups and first >= (rows := file.metadata.row_group(group).num_rows):
        first -= rows
        group += 1
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, row_groups=range(group, file.num_row_groups)):
        passed = min(first, batch.num_rows)
        first -= passed
        columns = [column.to_pylist() for column in batch.slice(passed).columns]
        for cells in zip(*columns, strict=True):
            yield [_cell(cell) for cell in cells]


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str | bytes):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
