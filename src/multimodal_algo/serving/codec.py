"""Bodies to records and answers to bodies, exact to the line: N records in, N lines out, in order.

``SplitType: Line`` cuts at every newline, quoted or not, so a record is one line and never spans two.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from multimodal_algo.schema import ID, FeatureSchema

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Record:
    """One line of a body.

    Parameters
    ----------
    line
        Its place in the body, from 1.
    fields
        Its cells; empty where `problem` is set and no cell could be told apart.
    problem
        Why it cannot be a row, as a sentence without its end; None when it has the right number of fields.
    is_header
        Whether it is the first line and equals the training header without ``label``.
    is_blank
        Whether nothing stands on it.
    """

    line: int
    fields: tuple[str, ...]
    problem: str | None = None
    is_header: bool = False
    is_blank: bool = False


def split_lines(body: bytes) -> list[bytes]:
    r"""The lines of a body, cut at ``\n`` only, each without its ``\n`` or ``\r\n``.

    The last line may lack its newline; an empty body has no lines. Python's ``splitlines`` would also cut at
    U+2028 and others, which are legal inside text.
    """
    if not body:
        return []
    lines = body.removeprefix(_BOM).split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines]


def decode_csv(body: bytes, schema: FeatureSchema) -> list[Record]:
    """The records of a CSV body without header, one per line.

    Parameters
    ----------
    body
        UTF-8, with or without BOM.
    schema
        Its ``inference_columns`` are the fields of a line.
    """
    return [_record(number, line, schema) for number, line in enumerate(split_lines(body), start=1)]


def identity(record: Record, schema: FeatureSchema) -> str:
    """The ID of a record, as well as it can be told; ``""`` where it cannot or there is none."""
    if not schema.has_id:
        return ""
    position = schema.inference_columns.index(ID)
    # A row with a wrong number of fields still has its ID in place when nothing stands before it.
    if position < len(record.fields) and (record.problem is None or position == 0 or _has_right_width(record, schema)):
        return record.fields[position]
    return ""


def output_names(schema: FeatureSchema, prediction: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the fields of an output line, those of the prediction at its end."""
    return (ID, *prediction) if schema.has_id else prediction


def encode_csv(rows: Iterable[Sequence[str]]) -> bytes:
    """Output lines: RFC 4180 with LF, one newline after each, none inside a field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([_on_one_line(field) for field in row])
    return text.getvalue().encode("utf-8")


def _record(number: int, line: bytes, schema: FeatureSchema) -> Record:
    columns = schema.inference_columns
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return Record(number, (), f"not UTF-8 (byte 0x{line[error.start]:02x} at position {error.start + 1})")
    if not text and len(columns) > 1:
        return Record(number, (), "a blank line", is_blank=True)
    try:
        # csv reads an empty line as no cell at all; where rows have one column it is an empty one.
        fields = tuple(next(csv.reader([text], strict=True), [])) or ("",)
    except csv.Error as error:
        hint = (
            "a quote is not closed; SplitType Line cuts cells with newlines apart: replace newlines by spaces"
            if text.count('"') % 2
            else str(error)
        )
        return Record(number, (), f"not well-formed CSV ({hint})")
    if number == 1 and fields == columns:
        return Record(number, fields, is_header=True)
    if len(fields) != len(columns):
        return Record(number, fields, _wrong_width(len(fields), schema))
    return Record(number, fields)


def _wrong_width(found: int, schema: FeatureSchema) -> str:
    expected = schema.inference_columns
    hint = ""
    if found == len(expected) + 1:
        hint = "; leave the label out"
    elif schema.has_id and found == len(expected) - 1:
        hint = f"; is {ID} missing?"
    shown = ", ".join(expected[:12]) + (", …" if len(expected) > 12 else "")
    return f"{found} fields instead of {len(expected)} ({shown}{hint})"


def _has_right_width(record: Record, schema: FeatureSchema) -> bool:
    return len(record.fields) == len(schema.inference_columns)


def _on_one_line(field: str) -> str:
    return field.replace("\r\n", " ").replace("\n", " ").replace("\r", " ")
