"""The files of a channel, CSV or Parquet, and their rows with exact positions."""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from multimodal_algo.core.errors import UserError

# By default the standard library refuses fields over 128 KiB, but a photo in base64 is larger.
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))

_BUFFER_BYTES = 1024 * 1024
_PARQUET_MAGIC = b"PAR1"
_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Section:
    """A part of a file: rows that follow each other.

    Parameters
    ----------
    row, line, offset, position
        Numbers of the row before the section, see `SourceRow`.
    end
        Position of the last row. None where the section ends with the file.
    size
        Size in bytes of the file.
    """

    row: int
    line: int
    offset: int
    position: int
    end: int | None
    size: int


@dataclass(frozen=True)
class Source:
    """A file, a section of a file, or a FIFO.

    Parameters
    ----------
    path
        Path of the file or FIFO.
    name
        Name in messages: the path from the channel's directory on.
    is_pipe
        Whether it is a FIFO of Pipe mode. A FIFO yields the files of the channel one after the other, with their
        headers, and can be read once only.
    section
        Rows of the file that count. None for all rows.
    """

    path: Path
    name: str
    is_pipe: bool = False
    section: Section | None = None

    @property
    def size(self) -> int:
        """Size in bytes. 0 for a FIFO, whose size is unknown."""
        if self.section is not None:
            return self.section.size
        return 0 if self.is_pipe else self.path.stat().st_size


@dataclass(frozen=True)
class SourceRow:
    """One row of a source.

    Parameters
    ----------
    number
        Number among the data rows, from 1. The header has 0.
    line
        Line of the file on which the row ends, from 1. It is larger than ``number + 1`` after quoted newlines.
    fields
        Cells without quotes: strings, or bytes of an image in a Parquet file.
    offset
        Number of bytes of the file that were read so far.
    position
        End of the row: in bytes of the unpacked text, or in rows of a Parquet file.
    """

    number: int
    line: int
    fields: list[Any]
    offset: int
    position: int


def find_sources(location: Path) -> list[Source]:
    """Return the sources of the channel at `location`, which is a file, a FIFO or a directory.

    The files of a directory are sorted by path. Folders may nest, since File mode copies the key tree of S3. Names end
    in ``.csv``, ``.csv.gz`` or ``.parquet``, or do not have an ending, such as ``part-00000``, which is CSV. Hidden
    files, empty files and marker objects, such as ``_SUCCESS``, are passed over.

    Raises
    ------
    UserError
        There is nothing at `location`, or none of the files can be CSV or Parquet.
    """
    if location.is_fifo():
        return [Source(location, location.name, is_pipe=True)]
    if location.is_file():
        return [Source(location, location.name)]
    if not location.is_dir():
        raise UserError(f"{location}: there is no such file or directory. Give a CSV file or a folder of them.")
    files = [path for path in sorted(location.rglob("*")) if path.is_file() and _holds_data(path, location)]
    tables = [path for path in files if _looks_like_a_table(path)]
    if not tables:
        content = f"only {', '.join(path.name for path in files[:5])}" if files else "nothing"
        raise UserError(
            f"{location.name}: {content} is there. Put at least one .csv, .csv.gz or .parquet file into it."
        )
    return [Source(path, f"{location.name}/{path.relative_to(location).as_posix()}") for path in tables]


def read_rows(source: Source) -> Iterator[SourceRow]:
    """Yield the header and the rows of a file in order. A file is read once, from its beginning to its end.

    CSV is RFC 4180 with quoted newlines, LF or CRLF, in UTF-8 with or without BOM. Blank lines are not rows. Gzip is
    recognised by its first bytes, since File mode does not decompress. Parquet is recognised by the file's name or
    first bytes, see `ingest.parquet`.

    The rows of a section have the same numbers as in the whole file.

    Raises
    ------
    UserError
        Bytes are not UTF-8, a quote is never closed or closed in the middle of a cell, or a gzip or Parquet file is
        broken. The message names the line.
    """
    with source.path.open("rb", buffering=_BUFFER_BYTES) as file:
        if source.path.name.lower().endswith(".parquet") or _begins_with(file, _PARQUET_MAGIC):
            yield from _parquet_rows(source)
            return
        lines = _Lines(file, source)
        section = source.section
        number = 0
        try:
            for fields in _records(lines):
                if fields:
                    yield SourceRow(number, lines.number, fields, lines.offset, lines.position)
                    number += 1
                    if number == 1 and section is not None:
                        lines.skip_to(section)
                        number += section.row
                if section is not None and section.end is not None and lines.position >= section.end:
                    return
        except csv.Error as error:
            raise UserError(
                f"{source.name}, row {number} (line {lines.number}): not well-formed CSV ({error}). "
                "Quote cells that hold quotes, commas or newlines, and double the quotes in them."
            ) from None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{source.name}: the gzip file is broken ({error}). Upload it again.") from None


def cut(source: Source, header: Sequence[str], least_bytes: int, least_rows: int) -> list[Section]:
    """Cut a file into sections that together have all of its rows.

    The file is read for this, since only a parser knows which newlines are in quotes. Where a row cannot be read, the
    last section has all that follows. Whoever reads that section reports the error.

    Parameters
    ----------
    source
        Whole file.
    header
        Names of the columns.
    least_bytes, least_rows
        Smallest number of bytes and of rows in a section. The last section may be smaller.

    Returns
    -------
    list[Section]
        Sections in order. Empty for a file that stays whole, for example since it has another header.
    """
    bounds: list[SourceRow] = []
    with suppress(UserError):
        for row in read_rows(source):
            if row.number == 0:
                if row.fields != list(header):
                    return []
                bounds.append(row)
            elif row.offset - bounds[-1].offset >= least_bytes and row.number - bounds[-1].number >= least_rows:
                bounds.append(replace(row, fields=[]))
    if len(bounds) < 2:
        return []
    inner = [_section(before, last.position, last.offset) for before, last in pairwise(bounds)]
    return [*inner, _section(bounds[-1], None, source.size)]


def _section(before: SourceRow, end: int | None, end_offset: int) -> Section:
    size = end_offset - before.offset
    return Section(before.number, before.line, before.offset, before.position, end, size)


def _parquet_rows(source: Source) -> Iterator[SourceRow]:
    if source.is_pipe:
        raise UserError(f"{source.name}: Parquet cannot be read in Pipe mode. Use File or FastFile mode.")
    from multimodal_algo.ingest.parquet import read_parquet

    section = source.section
    first, end = (section.row, section.end) if section is not None else (0, None)
    for number, cells, offset in read_parquet(source.path, source.name, first):
        yield SourceRow(number, number + 1, cells, offset, number)
        if number == end:
            return


def _begins_with(file: IO[bytes], magic: bytes) -> bool:
    assert isinstance(file, io.BufferedReader)
    return file.peek(len(magic))[: len(magic)] == magic


def _records(lines: _Lines) -> Iterator[list[str]]:
    """Yield the fields of each record of `lines`, as `csv.reader` does. A blank line yields an empty list."""

    def from_(line: str) -> Iterator[str]:
        yield line
        # `yield from` would close `lines` together with this generator.
        for following in lines:  # noqa: UP028
            yield following

    for line in lines:
        text = line.removesuffix("\n").removesuffix("\r")
        if '"' in text or "\r" in text:
            # Quotes may hold newlines, so the reader takes as many lines as the record has.
            yield next(csv.reader(from_(line), strict=True))
        else:
            # Lines with images are long, and `split` is many times faster than the reader.
            yield text.split(",") if text else []


def _holds_data(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    return not any(part.startswith((".", "_")) for part in parts) and path.stat().st_size > 0


def _looks_like_a_table(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith((".csv", ".csv.gz", ".parquet")) or "." not in name


class _Lines:
    """The lines of an open file, decoded one by one.

    Bytes are split at newlines alone, and then decoded. So characters such as U+2028 stay inside their cell, and an
    error names the line of the byte that cannot be decoded. Only sections seek, since a FIFO cannot.
    """

    def __init__(self, file: IO[bytes], source: Source) -> None:
        self._file = file
        self._source = source
        self._compressed = _begins_with(file, _GZIP_MAGIC)
        self._stream: IO[bytes] = gzip.GzipFile(fileobj=file) if self._compressed else file  # type: ignore[assignment]
        self._lines = self._read()
        self.position = 0
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self._lines

    @property
    def offset(self) -> int:
        """Number of bytes read so far: compressed bytes of a file, unpacked bytes of a FIFO, which has no position."""
        return self._file.tell() if self._compressed and not self._source.is_pipe else self.position

    def skip_to(self, section: Section) -> None:
        """Go on at the first line of a section."""
        self._stream.seek(section.position)
        self.position = section.position
        self.number = section.line

    def _read(self) -> Iterator[str]:
        for raw in self._stream:
            self.number += 1
            self.position += len(raw)
            try:
                yield (raw.removeprefix(_BOM) if self.number == 1 else raw).decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{self._source.name}, line {self.number}: not UTF-8 (byte 0x{raw[error.start]:02x} at position "
                    f"{error.start + 1} of the line). Save the file as UTF-8."
                ) from None
