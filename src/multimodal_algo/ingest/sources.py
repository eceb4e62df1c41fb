"""The CSV files of a channel, and their rows with exact positions."""

from __future__ import annotations

import csv
import gzip
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from multimodal_algo.errors import UserError

# The standard library refuses fields over 128 KiB; a base64 photo is larger.
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))

_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Source:
    """One CSV file. `name` is its path below the channel, as messages show it."""

    path: Path
    name: str


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
        The cells, unquoted.
    """

    number: int
    line: int
    fields: list[str]


def find_sources(location: Path) -> list[Source]:
    """The CSV files at `location`: itself when it is a file, else every file below it, sorted by path.

    Hidden files, empty files and marker objects (``_SUCCESS``) are passed over; File mode keeps the key tree
    of S3, so folders may nest. Names may end in ``.csv`` or ``.csv.gz``, or have no ending (``part-00000``).

    Raises
    ------
    UserError
        Nothing is there, or nothing that can be CSV.
    """
    if location.is_file():
        return [Source(location, location.name)]
    if not location.is_dir():
        raise UserError(f"{location}: there is no such file or directory. Give a CSV file or a folder of them.")
    files = [path for path in sorted(location.rglob("*")) if path.is_file() and _holds_data(path, location)]
    csvs = [path for path in files if _looks_like_csv(path)]
    if not csvs:
        found = f"only {', '.join(path.name for path in files[:5])}" if files else "nothing"
        raise UserError(f"{location.name}: {found} is there. Put at least one .csv or .csv.gz file into it.")
    return [Source(path, f"{location.name}/{path.relative_to(location).as_posix()}") for path in csvs]


def read_rows(source: Source) -> Iterator[SourceRow]:
    """The rows of a file in order, the header first; blank lines are not rows.

    RFC 4180 with quoted newlines, LF or CRLF, UTF-8 with or without BOM, plain or gzip (by content, since File
    mode does not decompress).

    Raises
    ------
    UserError
        Bytes that are not UTF-8, a quote that is never closed or closed in the middle of a cell, a broken gzip
        stream; the message names the line.
    """
    with _opened(source) as stream:
        reader = csv.reader(_decoded_lines(stream, source), strict=True)
        number = 0
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise UserError(
                    f"{source.name}, row {number} (line {reader.line_num}): not well-formed CSV ({error}). "
                    "Quote cells that hold quotes, commas or newlines, and double the quotes in them."
                ) from None
            except (EOFError, gzip.BadGzipFile) as error:
                raise UserError(f"{source.name}: the gzip file is broken ({error}). Upload it again.") from None
            if not fields:
                continue
            yield SourceRow(number, reader.line_num, fields)
            number += 1


def read_header(source: Source) -> list[str]:
    """The fields of the header line; none for a file without a row. Raises as `read_rows` does."""
    return next((row.fields for row in read_rows(source)), [])


def _holds_data(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    return not any(part.startswith((".", "_")) for part in parts) and path.stat().st_size > 0


def _looks_like_csv(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith((".csv", ".csv.gz")) or "." not in name


def _opened(source: Source) -> IO[bytes]:
    stream = source.path.open("rb")
    magic = stream.peek(2)[:2]
    if magic == _GZIP_MAGIC:
        stream.close()
        return gzip.open(source.path, "rb")  # type: ignore[return-value]
    return stream


def _decoded_lines(stream: IO[bytes], source: Source) -> Iterator[str]:
    # Bytes are split at \n only and decoded line by line: so U+2028 and the like stay inside their cell, and
    # an undecodable byte is reported with its own line.
    for line, raw in enumerate(stream, start=1):
        if line == 1:
            raw = raw.removeprefix(_BOM)
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{source.name}, line {line}: not UTF-8 (byte 0x{raw[error.start]:02x} at position {error.start + 1} "
                "of the line). Save the file as UTF-8."
            ) from None
