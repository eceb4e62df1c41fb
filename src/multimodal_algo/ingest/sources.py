"""The files of a channel, CSV or Parquet, and their rows with exact positions."""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from multimodal_algo.errors import UserError

# The standard library refuses fields over 128 KiB; a base64 photo is larger.
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))

_BUFFER_BYTES = 1024 * 1024
_PARQUET_MAGIC = b"PAR1"
_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Source:
    """One file, or one FIFO.

    Parameters
    ----------
    path
        Where it is.
    name
        Its path below the channel, as messages show it.
    is_pipe
        A FIFO of Pipe mode: the files of the channel one after the other, headers and all, to be read once.
    """

    path: Path
    name: str
    is_pipe: bool = False

    @property
    def size(self) -> int:
        """Bytes; 0 for a FIFO, which tells no size."""
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
    """

    number: int
    line: int
    fields: list[Any]
    offset: int = 0


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
    """The rows of a file in order, the header first; blank lines are not rows. The file is read once, front to back.

    CSV: RFC 4180 with quoted newlines, LF or CRLF, UTF-8 with or without BOM, plain or gzip (by content, since File
    mode does not decompress). Parquet, by name or content: see `ingest.parquet`.

    Raises
    ------
    UserError
        Bytes that are not UTF-8, a quote that is never closed or closed in the middle of a cell, a broken gzip
        stream or Parquet file; the message names the line.
    """
    with source.path.open("rb", buffering=_BUFFER_BYTES) as file:
        if source.path.name.lower().endswith(".parquet") or _begins_with(file, _PARQUET_MAGIC):
            if source.is_pipe:
                raise UserError(f"{source.name}: Parquet cannot be read in Pipe mode. Use File or FastFile mode.")
            from multimodal_algo.ingest.parquet import read_parquet

            for number, (cells, offset) in enumerate(read_parquet(source.path, source.name)):
                yield SourceRow(number, number + 1, cells, offset)
            return
        lines = _Lines(file, source)
        number = 0
        try:
            for fields in _records(lines):
                if fields:
                    yield SourceRow(number, lines.number, fields, lines.offset)
                    number += 1
        except csv.Error as error:
            raise UserError(
                f"{source.name}, row {number} (line {lines.number}): not well-formed CSV ({error}). "
                "Quote cells that hold quotes, commas or newlines, and double the quotes in them."
            ) from None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{source.name}: the gzip file is broken ({error}). Upload it again.") from None


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
    reported with its own line. Nothing seeks: FIFOs and streaming mounts cannot.
    """

    def __init__(self, file: IO[bytes], source: Source) -> None:
        self._file = file
        self._source = source
        self._lines = self._read()
        self.offset = 0
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self._lines

    def _read(self) -> Iterator[str]:
        compressed = _begins_with(self._file, _GZIP_MAGIC)
        stream = gzip.GzipFile(fileobj=self._file) if compressed else self._file
        for self.number, raw in enumerate(stream, start=1):
            # The compressed bytes of a file; all bytes of a FIFO, which tells no position.
            if compressed and not self._source.is_pipe:
                self.offset = self._file.tell()
            else:
                self.offset += len(raw)
            if self.number == 1:
                raw = raw.removeprefix(_BOM)
            try:
                yield raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{self._source.name}, line {self.number}: not UTF-8 (byte 0x{raw[error.start]:02x} at position "
                    f"{error.start + 1} of the line). Save the file as UTF-8."
                ) from None
