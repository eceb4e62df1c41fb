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

# The standard library refuses fields over 128 KiB; a base64 photo is larger.
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))

_BUFFER_BYTES = 1024 * 1024
_PARQUET_MAGIC = b"PAR1"
_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Section:
    """Rows of a file that follow each other.

    Parameters
    ----------
    row, line, offset, position
        `SourceRow`'s numbers of the row before it.
    end
        Position of its last row; None where it goes to the end of the file.
    size
        Bytes of the file that it takes.
    """

    row: int
    line: int
    offset: int
    position: int
    end: int | None
    size: int


@dataclass(frozen=True)
class Source:
    """One file, some rows of one, or one FIFO.

    Parameters
    ----------
    path
        Where it is.
    name
        Its path below the channel, as messages show it.
    is_pipe
        A FIFO of Pipe mode: the files of the channel one after the other, headers and all, to be read once.
    section
        The rows of the file that count; None for all.
    """

    path: Path
    name: str
    is_pipe: bool = False
    section: Section | None = None

    @property
    def size(self) -> int:
        """Bytes; 0 for a FIFO, which tells no size."""
        if self.section is not None:
            return self.section.size
        return 0 if self.is_pipe else self.path.stat().st_size


@dataclass(frozen=True)
class SourceRow:
    """One row of a source.

    Parameters
    ----------
    number
        The row's place among the data rows, from 1; the header is 0.
    line
        The physical line that the row ends on, from 1 (quoted newlines make it larger than ``number + 1``).
    fields
        The cells, unquoted: strings, or bytes for an image in a Parquet file.
    offset
        Bytes of the file that were read so far.
    position
        Where the row ends: bytes of the text, unpacked; rows of a Parquet file.
    """

    number: int
    line: int
    fields: list[Any]
    offset: int
    position: int


def find_sources(location: Path) -> list[Source]:
    """The files at `location`: itself when it is a file or a FIFO, else every file below it, sorted by path.

    Hidden files, empty files and marker objects (``_SUCCESS``) are passed over; File mode keeps the key tree
    of S3, so folders may nest. Names may end in ``.csv``, ``.csv.gz`` or ``.parquet``, or have no ending
    (``part-00000``: CSV).

    Raises
    ------
    UserError
        Nothing is there, or nothing that can be CSV or Parquet.
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
        found = f"only {', '.join(path.name for path in files[:5])}" if files else "nothing"
        raise UserError(f"{location.name}: {found} is there. Put at least one .csv, .csv.gz or .parquet file into it.")
    return [Source(path, f"{location.name}/{path.relative_to(location).as_posix()}") for path in tables]


def read_rows(source: Source) -> Iterator[SourceRow]:
    """The header and the rows of a file in order; blank lines are not rows. A file is read once, front to back.

    CSV: RFC 4180 with quoted newlines, LF or CRLF, UTF-8 with or without BOM, plain or gzip (by content, since File
    mode does not decompress). Parquet, by name or content: see `ingest.parquet`.

    The rows of a section have the numbers that they have in the whole file.

    Raises
    ------
    UserError
        Bytes that are not UTF-8, a quote that is never closed or closed in the middle of a cell, a broken gzip
        stream or Parquet file; the message names the line.
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
    """Sections that are all rows of a file, each but the last one with at least so many bytes and rows.

    They are found by reading the file, since only its reader knows which newlines are in quotes. One that cannot be
    read, or has another header, is left whole from there on: whoever reads that section says what is wrong.

    Parameters
    ----------
    source
        A file, whole.
    header
        Names of the columns.
    least_bytes, least_rows
        See above.

    Returns
    -------
    list[Section]
        None for a file that is left whole.
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
    """The records of `lines`, as `csv.reader` reads them: the fields of each, none for a blank line."""

    def from_(line: str) -> Iterator[str]:
        yield line
        # No `yield from`: it would close `lines` with this generator.
        for following in lines:  # noqa: UP028
            yield following

    for line in lines:
        text = line.removesuffix("\n").removesuffix("\r")
        if '"' in text or "\r" in text:
            # Quotes may hold newlines: the reader takes as many lines as the record has.
            yield next(csv.reader(from_(line), strict=True))
        else:
            # Many times faster, and lines with images are long.
            yield text.split(",") if text else []


def _holds_data(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    return not any(part.startswith((".", "_")) for part in parts) and path.stat().st_size > 0


def _looks_like_a_table(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith((".csv", ".csv.gz", ".parquet")) or "." not in name


class _Lines:
    """The lines of an open file, decoded one by one.

    Bytes are split at newlines only: so U+2028 and the like stay inside their cell, and an undecodable byte is
    reported with its own line. Only sections seek: FIFOs cannot.
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
        """The compressed bytes of a file; all bytes of a FIFO, which tells no position."""
        return self._file.tell() if self._compressed and not self._source.is_pipe else self.position

    def skip_to(self, section: Section) -> None:
        """Go on with the first line of a section."""
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
