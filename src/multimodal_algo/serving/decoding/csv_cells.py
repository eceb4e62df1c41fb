"""A record of CSV becomes cells. As in other CSV readers, a quote has a meaning only at the beginning of a cell."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence

from multimodal_algo.serving.decoding.encodings import BOM

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))

# No table has as many columns. The rest of a longer line stays one field.
_MOST_FIELDS = 100_000
_MISSING_NUMBERS = frozenset({"", "nan", "na", "null"})
BACKSLASH = "; a backslash stands before a quote, as Spark writes it: set Spark's option escape='\"'"


class OpenQuote(ValueError):
    """Error: the last cell begins with a quote and is not closed.

    The argument has the fields if that quote is only a letter.
    """


class NotARow(ValueError):
    """Error: a line is not well-formed CSV. The message is the reason."""


class CarriageReturn(NotARow):
    """Error: a carriage return is outside quotes."""


def fields_of(text: str) -> list[str]:
    """Return the cells of a text that is one record. An empty text is one empty cell.

    Raises
    ------
    OpenQuote
        The last cell begins with a quote and is not closed.
    NotARow
        The text is not well-formed, or has more than one record.
    """
    if '"' not in text and "\r" not in text:
        return text.split(",", _MOST_FIELDS)
    try:
        # The text is given as one line, so that a newline outside quotes is an error and not the end of a record.
        return next(csv.reader([text], strict=True)) or [""]
    except csv.Error as error:
        reason = str(error)
    if "end of data" in reason:
        *fields, opened = next(csv.reader([text + '"'], strict=True))
        raise OpenQuote([*fields, *f'"{opened}'.split(",")])
    if "new-line" in reason:
        raise CarriageReturn(
            "a carriage return (CR) stands outside quotes; quote cells that hold one, or replace it by a blank"
        )
    if '\\"' in text:
        raise NotARow(f"not well-formed CSV: text follows the closing quote of a cell{BACKSLASH}")
    if "expected after" in reason:
        raise NotARow("not well-formed CSV: text follows the closing quote of a cell; double quotes inside it")
    raise NotARow(f"not well-formed CSV ({reason})")


def structure_of(line: bytes) -> str:
    """Return a line with one character for each byte.

    So a line that is not UTF-8 can be cut at its quotes and commas.
    """
    return line.decode("latin-1").rstrip("\r")


def stripped(line: bytes) -> bytes:
    """Return a line without byte order mark at its beginning and carriage returns at its end."""
    return line.removeprefix(BOM).rstrip(b"\r")


def joined_width(rows: Sequence[Sequence[str]]) -> int:
    """Return the number of fields of a line that was cut at carriage returns, if these are only letters."""
    return sum(max(len(fields), 1) - 1 for fields in rows) + 1


def is_number(text: str) -> bool:
    """Return whether a cell is a number, or one of the texts for a missing number. It has no blanks around it."""
    if text.lower() in _MISSING_NUMBERS:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def cut_at_carriage_returns(line: bytes) -> list[bytes]:
    """Return the parts of a line between carriage returns outside quotes. An empty part at the end is left out."""
    parts = line.decode("latin-1").rstrip("\r").split("\r")
    reader = csv.reader((part + "\r" for part in parts), strict=True)
    pieces: list[str] = []
    start = 0
    while start < len(parts):
        try:
            next(reader)
        except csv.Error:
            # A quote is wrong in one of the lines. They are cut at each carriage return.
            return [part.encode("latin-1") for part in parts]
        pieces.append("\r".join(parts[start : reader.line_num]))
        start = reader.line_num
    return [piece.encode("latin-1") for piece in pieces]
