"""Reads rows of Parquet files, with the same column names and cells as rows of CSV files.

Every cell becomes a string. Images may be base64 or names of files, as in CSV, or the bytes of encoded images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from multimodal_algo.core.column_names import AS_WRITTEN, ColumnNames
from multimodal_algo.core.errors import UserError, first_line
from multimodal_algo.core.schema import ID, LABEL, Modality, modality_of
from multimodal_algo.ingest.images import SeveralImages
from multimodal_algo.ingest.parquet_pages import GroupSizes, group_sizes
from multimodal_algo.ingest.parquet_values import is_binary, is_text, text_of, without_nulls

_BUFFER_BYTES = 1024 * 1024
_BATCH_ROWS = 64
_BATCH_BYTES = 16 * 1024 * 1024
# Most bytes of a batch in memory where its rows share values, which stand in the file once.
_MOST_BATCH_BYTES = 256 * 1024 * 1024
_REMEDIES = {
    Modality.IMAGE: "Store bytes or base64, structs of bytes and path, or lists of these.",
    Modality.TEXT: "Store strings or lists of strings.",
}
_REMEDY = "Store strings, numbers or booleans, each field of a structure in a column of its own."


def open_parquet(source: Path | IO[bytes]) -> pq.ParquetFile:
    """Open a Parquet file or the body of a request. The caller closes it.

    Raises
    ------
    pyarrow.ArrowException, OSError
        The content is not Parquet.
    """
    # Spark's INT96 timestamps are nanoseconds by default, which wrap silently after the year 2262.
    # Without a buffer, a column of a whole row group is in memory.
    return pq.ParquetFile(source, pre_buffer=False, buffer_size=_BUFFER_BYTES, coerce_int96_timestamp_unit="us")


def read_parquet(
    path: Path, name: str, first: int = 0, names: ColumnNames = AS_WRITTEN
) -> Iterator[tuple[int, list[Any], int]]:
    """Yield the column names of a Parquet file as row 0, and then its rows.

    Parameters
    ----------
    path
        The file.
    name
        Name of the file in messages.
    first
        Number of rows to skip at the beginning.
    names
        The user's own names of the columns.

    Yields
    ------
    tuple
        Number of the row, its cells as in `rows_of`, and the bytes of the file that were read so far.

    Raises
    ------
    UserError
        The file is not Parquet, or a column has a type that cannot be read.
    """
    try:
        with open_parquet(path) as file, path.open("rb") as stream:
            yield 0, list(file.schema_arrow.names), 0
            size, rows = path.stat().st_size, max(file.metadata.num_rows, 1)
            for number, cells in enumerate(rows_of(file, name, first, stream, names), start=first + 1):
                yield number, cells, size * number // rows
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{name}: not readable as Parquet ({first_line(error)}). Upload it again.") from None


def rows_of(
    file: pq.ParquetFile,
    name: str,
    first: int = 0,
    stream: IO[bytes] | None = None,
    names: ColumnNames = AS_WRITTEN,
) -> Iterator[list[Any]]:
    """Yield the cells of each row, in the order of the file's columns. The `first` rows are skipped.

    The modality of a column, which `names` or its suffix gives, decides how cells are read. A cell is a string, see
    `parquet_values.text_of`. Null and NaN become the empty cell. In image columns a cell may also be bytes or
    `SeveralImages`. In text columns, lists of strings are joined with one blank. Nested columns without a modality are
    empty, because nobody reads them.

    `stream` has the bytes of the file. They show how many rows fit into memory. The position of `stream` is moved.

    Raises
    ------
    UserError
        A column has a type that cannot be read, or text that is not UTF-8. `name` is the file's name in the message.
    """
    readers = _readers(file.schema_arrow, name, names)
    group = 0
    while group < file.num_row_groups and first >= (rows := file.metadata.row_group(group).num_rows):
        first -= rows
        group += 1
    for most_rows, groups in groupby(range(group, file.num_row_groups), partial(_batch_rows, file, stream)):
        for batch in file.iter_batches(batch_size=most_rows, row_groups=list(groups)):
            passed = min(first, batch.num_rows)
            first -= passed
            yield from _rows(readers, batch.slice(passed))


def rows_of_table(table: pa.Table, name: str, names: ColumnNames = AS_WRITTEN) -> Iterator[list[Any]]:
    """Yield the cells of each row of an Arrow table in memory, as `rows_of` does for a file with the same content."""
    readers = _readers(table.schema, name, names)
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        yield from _rows(readers, batch)


def _readers(schema: pa.Schema, name: str, names: ColumnNames) -> list[_Column]:
    return [_Column(field.with_name(names.canonical(field.name)), name) for field in schema]


def _rows(readers: list[_Column], batch: pa.RecordBatch) -> Iterator[list[Any]]:
    return map(list, zip(*map(_Column.cells, readers, batch.columns), strict=True))


def modalities_by_type(path: Path) -> dict[str, Modality]:
    """Return the modality of each column whose Parquet type shows it.

    Bytes and structures are images. Lists of strings are texts.
    """
    with open_parquet(path) as file:
        kinds = {field.name: field.type for field in file.schema_arrow}
    modalities = {}
    for name, kind in kinds.items():
        if _is_list(kind) and _is_text(kind.value_type):
            modalities[name] = Modality.TEXT
        elif not _is_text(kind) and _holds_images(kind):
            modalities[name] = Modality.IMAGE
    return modalities


def dates_by_type(path: Path) -> list[str]:
    """Return the names of the columns of a Parquet file whose type is a date or a timestamp."""
    with open_parquet(path) as file:
        return [
            field.name
            for field in file.schema_arrow
            if pa.types.is_date(field.type) or pa.types.is_timestamp(field.type)
        ]


def _batch_rows(file: pq.ParquetFile, stream: IO[bytes] | None, group: int) -> int:
    """Return how many rows of a row group are read at a time, so that they fit into memory."""
    metadata = file.metadata.row_group(group)
    sizes = GroupSizes(metadata.total_byte_size)
    if stream is not None:
        with suppress(ValueError):  # Arrow may still read the file
            sizes = group_sizes(stream, file, group)
    rows = min(
        _BATCH_ROWS, _BATCH_BYTES * metadata.num_rows // max(sizes.pages, 1), _MOST_BATCH_BYTES // max(sizes.row, 1)
    )
    # Powers of two, so that neighbouring groups mostly share a batch size.
    return int(1 << max(rows, 1).bit_length() - 1)


class _Column:
    """Converts the values of one Parquet column into cells."""

    def __init__(self, field: pa.Field, file: str) -> None:
        self._where = f"{file}, column {field.name}"
        name = field.name.strip()
        modality = modality_of(name)
        convert = None if _is_of_pandas(field) else _converter(field.type, modality, is_name=name in (ID, LABEL))
        if convert is None:
            if modality is not None or name in (ID, LABEL):
                remedy = _REMEDY if modality is None else _REMEDIES.get(modality, _REMEDY)
                raise UserError(f"{self._where}: the type {str(field.type)[:60]} is not read. {remedy}")
            convert = _empty_cells
        self._convert = convert

    def cells(self, values: pa.Array) -> list[Any]:
        """Convert an Arrow array with some rows of the column into cells."""
        try:
            return self._convert(values)
        except UnicodeDecodeError:
            raise UserError(f"{self._where}: not UTF-8. Store text as strings in UTF-8.") from None


def _converter(
    kind: pa.DataType, modality: Modality | None, *, is_name: bool
) -> Callable[[pa.Array], list[Any]] | None:
    """Return the function that converts Arrow arrays of a type into cells. None for a type that cannot be read.

    `is_name` is True for the ID and the label, which must not be bytes.
    """
    if pa.types.is_dictionary(kind):
        inner = _converter(kind.value_type, modality, is_name=is_name)
        return inner and (lambda values: inner(values.dictionary_decode()))
    if modality is Modality.IMAGE and is_binary(kind):
        return without_nulls
    if modality is Modality.IMAGE and _holds_images(kind):
        return lambda values: [_image_cell(value) for value in values.to_pylist()]
    if not pa.types.is_nested(kind):
        return text_of(kind, strict=is_name)
    if modality is Modality.TEXT and _is_list(kind) and _is_text(kind.value_type):
        return lambda values: [" ".join(text for text in texts or () if text) for texts in values.to_pylist()]
    return None


def _is_of_pandas(field: pa.Field) -> bool:
    """Return whether the column holds pandas' periods or intervals, which are stored as numbers or structures."""
    if isinstance(field.type, pa.BaseExtensionType):
        return field.type.extension_name.startswith("pandas.")
    # The type is not registered where pandas is not imported.
    return (field.metadata or {}).get(b"ARROW:extension:name", b"").startswith(b"pandas.")


def _empty_cells(values: pa.Array) -> list[Any]:
    return [""] * len(values)


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    return _is_text(kind.value_type) if pa.types.is_dictionary(kind) else is_text(kind)


def _holds_images(kind: pa.DataType) -> bool:
    """Return whether cells of an Arrow type can be encoded images: bytes, strings, structures, or lists of them."""
    if _is_list(kind):
        return not _is_list(kind.value_type) and _holds_images(kind.value_type)
    if pa.types.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        known = [fields[name] for name in ("bytes", "path") if name in fields]
        return bool(known) and all(pa.types.is_null(field) or is_binary(field) or _is_text(field) for field in known)
    if pa.types.is_dictionary(kind):
        return _holds_images(kind.value_type)
    return is_binary(kind) or is_text(kind)


def _image_cell(value: Any) -> Any:
    if not isinstance(value, list):
        return _image(value)
    images = tuple(image for image in map(_image, value) if image)
    return SeveralImages(images) if len(images) > 1 else images[0] if images else ""


def _image(value: Any) -> bytes | str:
    """Return an image cell as bytes of an image, or as text: base64 or a file name.

    A structure, as Hugging Face writes it, has bytes or a path.
    """
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    return value or ""
