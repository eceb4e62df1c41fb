"""Measures how much memory the pages of a Parquet file take, before they are decoded.

The sizes in the file's footer are not reliable, because the decoder allocates what the headers of the pages claim. A
value that many rows share is stored once, but takes memory in every row.

Source: the format's `parquet.thrift`, and the specification of Thrift's compact protocol.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_DICTIONARY_PAGE = 2
_BYTES = ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
_SHARED_PREFIXES = "DELTA_BYTE_ARRAY"
# Types of the compact protocol.
_BOOLEANS, _WHOLE_NUMBERS, _BINARY, _LISTS, _STRUCT = (1, 2), (4, 5, 6), 8, (9, 10), 12
_FIXED_BYTES = {3: 1, 7: 8}
_STRUCT_ENDS = 0
_MOST_ENTRIES = 1000


@dataclass(frozen=True)
class GroupSizes:
    """The memory in bytes that a row group of a Parquet file takes.

    Parameters
    ----------
    pages
        All pages after decompression.
    row
        Largest size of a row, counting only values that rows share. 0 if rows share no values.
    values
        Number of values of the column that has most, also within lists.
    shared
        Columns whose rows share values: by path, the bytes that all values take in memory at most.
    """

    pages: int
    row: int = 0
    values: int = 0
    shared: Mapping[str, int] = field(default_factory=dict)


def group_sizes(stream: IO[bytes], file: pq.ParquetFile, group: int) -> GroupSizes:
    """Return how much memory a row group takes, from the headers of its pages.

    Raises
    ------
    ValueError
        The header of a page is broken.
    """
    metadata = file.metadata.row_group(group)
    pages = row = most_values = 0
    shared: dict[str, int] = {}
    for number in range(metadata.num_columns):
        column = metadata.column(number)
        chunk = list(_pages(stream, column))
        pages += sum(page.size for page in chunk)
        values = sum(page.values for page in chunk)
        value = _largest_shared_value(column, chunk)
        if value:
            shared[column.path_in_schema] = value * values
        row += value
        most_values = max(most_values, values)
    return GroupSizes(pages, row, most_values, shared)


def _largest_shared_value(column: Any, pages: Sequence[_Page]) -> int:
    """Return the largest size in bytes of a value that rows may share. 0 if rows share no values."""
    if _SHARED_PREFIXES in column.encodings:
        return sum(page.size for page in pages)
    if column.physical_type in _BYTES:
        return max((page.size for page in pages if page.kind == _DICTIONARY_PAGE), default=0)
    return 0


class _Page(NamedTuple):
    """A page of a Parquet file: its type, its bytes after decompression, and its number of values."""

    kind: int
    size: int
    values: int


def _pages(stream: IO[bytes], column: Any) -> Iterator[_Page]:
    """Yield the pages of a column chunk (a column in one row group)."""
    starts = [column.data_page_offset]
    if column.has_dictionary_page and column.dictionary_page_offset:
        starts.append(column.dictionary_page_offset)
    at = min(starts)
    end = at + column.total_compressed_size
    while at < end:
        stream.seek(at)
        fields = _Compact(stream).struct()
        kind, size, packed = (fields.get(number) for number in (1, 2, 3))
        if not (isinstance(kind, int) and isinstance(size, int) and isinstance(packed, int)) or min(size, packed) < 0:
            raise ValueError("the header of a page is broken")
        # The headers of data pages of version 1 and 2 begin with the number of values.
        yield _Page(kind, size, max(_count(fields.get(number)) for number in (5, 8)))
        at = stream.tell() + packed


def _count(header: Any) -> int:
    values = header.get(1) if isinstance(header, dict) else 0
    return values if isinstance(values, int) else 0


class _Compact:
    """Parses a structure in Thrift's compact protocol, in which the headers of pages are written."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Parse a structure. Return its fields by number: whole numbers and structures, and None for other types."""
        if depth > 8:
            raise ValueError("the header of a page is nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while (begin := self._byte()) != _STRUCT_ENDS:
            number = number + (begin >> 4) if begin >> 4 else self._whole_number()
            fields[number] = self._value(begin & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _WHOLE_NUMBERS:
            return self._whole_number()
        if kind in _LISTS:
            self._list(depth)
        elif kind == _STRUCT:
            return self.struct(depth + 1)
        elif kind == _BINARY:
            self._stream.seek(self._unsigned(), io.SEEK_CUR)
        elif kind not in _BOOLEANS:
            self._stream.seek(_FIXED_BYTES.get(kind, 0), io.SEEK_CUR)
        return None

    def _list(self, depth: int) -> None:
        begin = self._byte()
        count = begin >> 4 if begin >> 4 != 15 else self._unsigned()
        for _ in range(min(count, _MOST_ENTRIES)):
            self._value(begin & 15, depth + 1)

    def _whole_number(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 70:
                raise ValueError("the header of a page is broken")

    def _byte(self) -> int:
        if not (byte := self._stream.read(1)):
            raise ValueError("the header of a page is broken")
        return byte[0]


def shared_bytes(body: bytes, path: str) -> int:
    """Return how many bytes a column's values take if each row has its own copy, without making the copies.

    Raises
    ------
    ValueError
        Arrow cannot read the column without making them.
    """
    total = 0
    file = pq.ParquetFile(io.BytesIO(body), pre_buffer=False, read_dictionary=[path])
    for batch in file.iter_batches(batch_size=16, columns=[path]):
        values = batch.column(0)
        while not pa.types.is_dictionary(values.type):
            if not pa.types.is_nested(values.type):
                raise ValueError(f"column {path[:60]}: such values are not read")
            inner = values.flatten()
            values = inner[0] if isinstance(inner, list) else inner
        lengths = pc.call_function("binary_length", [values.dictionary])
        total += pc.call_function("sum", [lengths.take(values.indices)]).as_py() or 0
    return total
