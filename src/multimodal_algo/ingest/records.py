"""Parses the records of a CSV text, and describes each row that is not well-formed in a sentence.

The rules are those of RFC 4180 and of Python's strict reader. A cell that begins with a quote ends with a quote, and
may hold separators, newlines and doubled quotes. In any other cell a quote is a character like any other.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from string import ascii_letters
from typing import IO, Any

from multimodal_algo.core.encodings import narrow_encoding, wide_encoding
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.headers import other_separator, wrong_separator
from multimodal_algo.ingest.formats import GZIP, foreign_format

# By default the standard library refuses fields over 128 KiB, but a photo in base64 is larger.
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))

# Most characters of a row after its first line. A quote that is never closed would take the rest of the file.
_MOST_CHARACTERS = 128 * 1024 * 1024
# Most rows that are not well-formed one after the other. Where there are more, the file as a whole is wrong.
_MOST_BROKEN = 1000
_BOM = "\ufeff"
# The begin of the csv module's message.
_CARRIAGE_RETURN_ERROR = "new-line character seen"
# Letters of a word that are looked at, before a byte that cannot be decoded.
_WORD = 40
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


@dataclass(frozen=True)
class RowProblem:
    """The reason why a row cannot be read, and how to mend it: a sentence without file and row.

    Parameters
    ----------
    reason
        Reason in words, without a full stop.
    remedy
        A sentence for the user.
    """

    reason: str
    remedy: str


BACKSLASHES = RowProblem(
    'not well-formed CSV (a quote in a cell is written \\", as Spark does by default, and not "")',
    'Double the quotes in quoted cells. In Spark, write with .option("escape", "\\"").',
)
CARRIAGE_RETURN = RowProblem(
    "not well-formed CSV (a carriage return, CR, in a cell without quotes)",
    "End all lines with LF or CRLF, and quote cells that hold a CR. Where every line ends with CR alone, "
    r"`tr '\r' '\n' < old.csv > new.csv` converts the file.",
)
NUL = RowProblem("a NUL byte (0x00)", "Remove it. Such bytes are left by broken transfers and by other encodings.")
TEXT_AFTER_QUOTE = RowProblem(
    "not well-formed CSV (text follows the closing quote of a cell)",
    "Quote cells that hold quotes, commas or newlines, and double the quotes in them.",
)
OPEN_QUOTE = RowProblem(
    "not well-formed CSV (a quote that begins a cell is not closed)",
    "Quote cells that hold quotes, commas or newlines, and double the quotes in them.",
)


class BrokenRecord(ValueError):
    """Raised for a row that is not well-formed, if it is not certain where the next row begins."""

    def __init__(self, problem: RowProblem, line: int) -> None:
        super().__init__(problem.reason)
        self.problem = problem
        self.line = line


class Lines:
    r"""The lines of an open text file, decoded one by one.

    Bytes are split only at ``\n`` and then decoded. So characters such as U+2028 stay inside their cell, and an error
    names the line of the byte that cannot be decoded. Only sections seek, because a FIFO cannot.

    Parameters
    ----------
    file
        The file, opened with a buffer.
    name
        Name of the file in messages.
    is_pipe
        Whether it is a FIFO, which has no position.
    delimiter
        Separator of the cells.

    Attributes
    ----------
    position
        Number of bytes of the lines read so far, after decompression.
    number
        Number of the lines read so far.
    certain
        Number of a line that is certainly a whole row, not the end of a row above. 0 if no such line is known.

    Raises
    ------
    UserError
        The file has another format or encoding, or its lines end with carriage returns.
    """

    def __init__(self, file: IO[bytes], name: str, is_pipe: bool, delimiter: str) -> None:
        self._file = file
        self._name = name
        self._is_pipe = is_pipe
        self._compressed = first_bytes(file).startswith(GZIP)
        self._stream: IO[bytes] = gzip.GzipFile(fileobj=file) if self._compressed else file  # type: ignore[assignment]
        self._again: deque[tuple[int, str]] = deque()
        self._lines = self._read()
        self.position = 0
        self.number = 0
        self.certain = 0
        _require_text(first_bytes(self._stream), name, delimiter)

    def __iter__(self) -> Iterator[str]:
        return self._lines

    def runs(self) -> Iterator[Iterator[str]]:
        """Yield an iterator over all lines. If lines were given back after the last one, yield another iterator."""
        yield self._lines
        while self._again:
            self._lines = self._read()
            yield self._lines

    @property
    def offset(self) -> int:
        """Number of bytes read so far: those of the compressed file, or decompressed bytes of a FIFO."""
        return self._file.tell() if self._compressed and not self._is_pipe else self.position

    def skip_to(self, position: int, number: int) -> None:
        """Continue after line `number`, which ends at byte `position`."""
        self._stream.seek(position)
        self.position = position
        self.number = number

    def give_back(self, lines: list[tuple[int, str]]) -> None:
        """Return lines to the file, so that they are read again. Each line comes with its number of bytes."""
        self._again.extendleft(reversed(lines))
        self.number -= len(lines)
        self.position -= sum(size for size, _ in lines)

    def _read(self) -> Iterator[str]:
        yield from self._given_back()
        # A small gzip file may be one line of any length.
        for raw in iter(partial(self._stream.readline, _MOST_CHARACTERS + 1), b""):
            self.number += 1
            self.position += len(raw)
            if len(raw) > _MOST_CHARACTERS:
                raise UserError(
                    f"{self._name}, line {self.number}: the line is longer than {_MOST_CHARACTERS >> 20} MB. Put large "
                    "images into files, and name them in cells."
                )
            try:
                yield raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(_not_utf8(raw, error.start, f"{self._name}, line {self.number}")) from None
            if self._again:
                yield from self._given_back()

    def _given_back(self) -> Iterator[str]:
        while self._again:
            size, text = self._again.popleft()
            self.number += 1
            self.position += size
            yield text


def records(lines: Lines, delimiter: str, name: str) -> Iterator[list[str] | RowProblem]:
    """Yield the fields of each record, or its problem. A blank line yields an empty list.

    After a line that is not well-formed, reading goes on if that is safe: the next lines, or the first of them that is
    well-formed, must be a whole row, with as many fields as the first record of the file.

    A byte order mark at the beginning of a record is dropped, because files with such a mark may have been joined.

    Parameters
    ----------
    lines
        Lines of the file.
    delimiter
        Separator of the cells.
    name
        Name of the file in messages.

    Raises
    ------
    BrokenRecord
        A row is not well-formed, and it is not certain where the next row begins. Or the header is not well-formed.
    UserError
        The file has another separator: the first line is like ``sep=;``, or looks like a header with that separator.
    """
    width = 0
    dialect = csv.reader((), delimiter=delimiter, strict=True).dialect
    for line in chain.from_iterable(lines.runs()):
        text = line.removesuffix("\n").removesuffix("\r")
        if text.startswith(_BOM):
            text = text.lstrip(_BOM)
            line = line.lstrip(_BOM)
        if not width and (declared := _SEPARATOR_LINE.fullmatch(text)):
            if declared[1] != delimiter:
                raise UserError(f"{name}: {wrong_separator(declared[1])}")
            continue
        record: list[str] | RowProblem
        if "\0" in text or "\r" in text:
            record = _quoted(line, lines, delimiter, width, name)
        elif '"' in text:
            try:
                record = next(csv.reader((line,), dialect))
            except csv.Error:
                # Quotes may hold newlines, so the reader takes as many lines as the record has.
                record = _quoted(line, lines, delimiter, width, name)
        else:
            # Lines with images are long, and `split` is many times faster than the reader.
            record = text.split(delimiter) if text else []
        if not width and isinstance(record, list):
            width = len(record)
        yield record


def _quoted(line: str, lines: Lines, delimiter: str, width: int, name: str) -> list[str] | RowProblem:
    """Return the fields of the record that begins with `line` and has quotes, or its problem. See `records`."""
    taken: list[tuple[int, str]] = []
    number = lines.number
    problem: RowProblem | None = None
    try:
        fields = next(csv.reader(_from(line, lines, taken), delimiter=delimiter, strict=True))
    except csv.Error as error:
        fields, problem = [], _problem_of(line, taken, str(error))
    else:
        if any("\0" in field for field in fields):
            return NUL
        if len(fields) == width or not width or not taken:
            return fields
    end = len(taken)
    # A quote that is open at the end of the file may be a sign that the rest of the file is missing.
    # A record that could be read stays one at the end of the file, whatever its width.
    if (taken or problem is not OPEN_QUOTE) and _is_row_next(
        taken, lines, number, delimiter, width, is_broken=problem is not None
    ):
        lines.give_back(taken)
        return problem if problem is not None and not end else _problem_of(line, taken[:end], "")
    lines.give_back(taken[end:])
    if problem is None:
        return fields
    if not width and (other := other_separator(line)):
        raise UserError(f"{name}: {wrong_separator(other)}")
    raise BrokenRecord(problem, number)


def _from(line: str, lines: Lines, taken: list[tuple[int, str]]) -> Iterator[str]:
    """Yield `line` and then the next lines of the file. These are also added to `taken`, with their sizes in bytes."""
    yield line
    position, characters = lines.position, 0
    for text in lines:
        taken.append((lines.position - position, text))
        position = lines.position
        characters += len(text)
        if characters > _MOST_CHARACTERS:
            raise csv.Error("a row is too long")
        yield text


def _problem_of(line: str, taken: list[tuple[int, str]], error: str) -> RowProblem:
    if '\\"' in line or any('\\"' in text for _, text in taken[:100]):
        return BACKSLASHES
    if error.startswith(_CARRIAGE_RETURN_ERROR):
        return CARRIAGE_RETURN
    return OPEN_QUOTE if taken or not error.endswith("expected after '\"'") else TEXT_AFTER_QUOTE


def _is_row_next(
    taken: list[tuple[int, str]], lines: Lines, number: int, delimiter: str, width: int, *, is_broken: bool
) -> bool:
    """Return whether a whole row follows a record, after any lines that are not well-formed.

    Parameters
    ----------
    taken
        Lines that follow the record's first line. Lines that this function reads are added.
    lines
        Lines of the file.
    number
        Number of the line before `taken`.
    delimiter, width
        Separator of the cells, and number of cells in a row.
    is_broken
        Whether the record is not well-formed. Then the end of the file counts as a row. After a well-formed record, a
        line with quotes does not count, because a closing quote of the record could be taken for its own.
    """
    if number < lines.certain:
        return True
    if width < 2:
        return False
    for position in range(_MOST_BROKEN):
        if position == len(taken) and not _take(lines, taken):
            return is_broken
        try:
            fields = next(csv.reader([taken[position][1]], delimiter=delimiter, strict=True))
        except csv.Error:
            continue
        is_row = len(fields) == width and (is_broken or not any('"' in field for field in fields))
        if is_row:
            lines.certain = number + 1 + position
        return is_row
    return False


def _take(lines: Lines, taken: list[tuple[int, str]]) -> bool:
    """Add the next line to `taken`. Return whether there is one."""
    position = lines.position
    if (line := next(iter(lines), None)) is None:
        return False
    taken.append((lines.position - position, line))
    return True


def first_bytes(stream: IO[bytes]) -> bytes:
    """Return some bytes from the beginning of a stream without consuming them. A FIFO may yield a single byte."""
    assert isinstance(stream, io.BufferedReader | gzip.GzipFile)
    return stream.peek(4096)


def _require_text(begin: bytes, name: str, delimiter: str) -> None:
    r"""Raise an error unless a file begins as UTF-8 text whose lines end with ``\n``."""
    if foreign := foreign_format(begin):
        raise UserError(f"{name}: the file is {foreign.name}, which is not read. {foreign.remedy}.")
    if encoding := wide_encoding(begin):
        raise UserError(f"{name}: not UTF-8 but {encoding}. {_conversion(encoding)}")
    if b"\r" in begin and b"\n" not in begin and _has_carriage_return(begin.decode("utf-8", "replace"), delimiter):
        raise UserError(
            f"{name}: not well-formed CSV (its lines end with CR alone, as classic Mac OS writes them). "
            r"Save it with LF or CRLF, for example `tr '\r' '\n' < old.csv > new.csv`."
        )


def _has_carriage_return(text: str, delimiter: str) -> bool:
    """Return whether a carriage return stands within a line, outside of quotes."""
    try:
        next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error as error:
        return str(error).startswith(_CARRIAGE_RETURN_ERROR)
    return False


def _not_utf8(raw: bytes, position: int, where: str) -> str:
    # A part that begins with the byte's word is enough, since a line may hold images. It ends with a whole character.
    before = raw[max(0, position - _WORD) : position]
    part = raw[position - len(before) + len(before.rstrip(ascii_letters.encode())) :][:4000]
    encoding = narrow_encoding(part[: max(part.rfind(b","), part.rfind(b"\n"), part.rfind(b" "), 0) or len(part)])
    looks = f" It looks like {encoding}." if encoding else ""
    return (
        f"{where}: not UTF-8 (byte 0x{raw[position]:02x} at position {position + 1} of the line).{looks} "
        f"{_conversion(encoding)}"
    )


def _conversion(encoding: str | None) -> str:
    command = f", or run `iconv -f {encoding} -t UTF-8 old.csv > new.csv`" if encoding else ""
    return f"Save the file as UTF-8 (in Excel: CSV UTF-8){command}."


def wrong_width(fields: Sequence[Any], columns: Sequence[str]) -> RowProblem:
    """Return the problem of a row that has more or fewer fields than there are columns, with the likely cause."""
    width = len(columns)
    reason = f"{len(fields)} fields instead of {width}"
    if any(str(field).endswith("\\") for field in fields):
        return replace(BACKSLASHES, reason=f"{reason} ({BACKSLASHES.reason.partition('(')[2]}")
    if len(fields) > width and not any(fields[width:]):
        return RowProblem(
            f"{reason}, since the line ends with a separator", "Remove the separators from the ends of lines."
        )
    if len(fields) > width and list(fields[width:]) == list(columns[1:]):
        return RowProblem(
            f"{reason}, since the header of another file follows on the same line",
            "Put a newline at the end of each file before you join files.",
        )
    if any(str(field).startswith(' "') for field in fields):
        return RowProblem(f"{reason}, since a blank stands before a quote", "Begin cells in quotes with the quote.")
    return RowProblem(reason, "Give each row one field per column, and quote cells that hold commas.")
