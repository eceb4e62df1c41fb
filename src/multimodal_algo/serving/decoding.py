"""Bodies of requests to records, in order and without loss: CSV, JSON Lines, JSON and Parquet.

``SplitType: Line`` cuts at every newline, also at a quoted one. A CSV cell with a newline may therefore arrive in two
parts. A line with an open quote is joined with the lines up to the closing quote. The body is refused if that quote is
not in it, or if the joined lines are not one row, because the second part might be read as a row of its own.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import ID, LABEL, FeatureSchema, Modality, modality_of

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))

_BOM = b"\xef\xbb\xbf"
# Most bytes of a Parquet body in memory.
_MOST_PARQUET_BYTES = 2 * 10**9


class Kind(Enum):
    """Format of a body, with its content types. Answers have the first of them."""

    CSV = ("text/csv",)
    JSON_LINES = ("application/jsonlines", "application/x-jsonlines", "application/jsonl", "application/x-ndjson")
    JSON = ("application/json",)
    PARQUET = ("application/x-parquet", "application/vnd.apache.parquet", "application/parquet")


class Header(Enum):
    """Whether the first line of a CSV body names its columns. `AUTO`: it does if it is the training header."""

    AUTO = "auto"
    PRESENT = "present"
    ABSENT = "absent"


@dataclass(frozen=True)
class Record:
    """One row of a body.

    Parameters
    ----------
    line
        Number of its first line in the body, from 1, or the number of the record where a body has no lines.
    cells
        Cells in the order of ``schema.inference_columns``: strings, or bytes of an image. Empty if there is a
        `problem`.
    problem
        Reason why it is not a row, as a sentence without its end. None if it has a cell for each column.
    identity
        The ID. ``""`` if the ID cannot be found, or the schema has no ID.
    is_header
        Whether the record names the columns.
    is_blank
        Whether the line is empty.
    """

    line: int
    cells: tuple[Any, ...] = ()
    problem: str | None = None
    identity: str = ""
    is_header: bool = False
    is_blank: bool = False


@dataclass(frozen=True)
class Decoded:
    """The records of a body.

    Parameters
    ----------
    records
        Records in order.
    is_single
        Whether the body is one JSON object, or one object per line, instead of a list of objects.
    """

    records: list[Record]
    is_single: bool = False


def decode(
    body: bytes, kind: Kind, schema: FeatureSchema, *, charset: str = "utf-8", header: Header = Header.AUTO
) -> Decoded:
    """Return the records of `body`.

    Parameters
    ----------
    body
        The body as it was sent.
    kind
        Format of the body.
    schema
        Columns of the model. A record has a cell for each of the ``inference_columns``.
    charset
        Character set of a text body, which may have a byte order mark.
    header
        Whether a CSV body has a header.

    Raises
    ------
    UserError
        The body cannot be separated into records.
    """
    if kind is not Kind.PARQUET:
        body = _utf8(body, charset)
    if kind is Kind.CSV:
        return Decoded(_csv(body, schema, header))
    if kind is Kind.JSON_LINES:
        return Decoded(_json_lines(body, schema), is_single=True)
    if kind is Kind.JSON:
        return _json(body, schema)
    return Decoded(_parquet(body, schema))


def split_lines(body: bytes) -> list[bytes]:
    r"""Return the lines of a body, cut at ``\n`` only, each without its ``\n`` or ``\r\n``.

    The last line may lack its newline. An empty body has no lines. Python's ``splitlines`` also cuts at U+2028 and
    similar characters, which are legal inside text.
    """
    if not body:
        return []
    lines = body.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines]


def _utf8(body: bytes, charset: str) -> bytes:
    if charset.lower().replace("_", "-") in ("utf-8", "utf8", "us-ascii", "ascii", "utf-8-sig"):
        return body.removeprefix(_BOM)
    try:
        return body.decode(charset).removeprefix("\ufeff").encode("utf-8")
    except (LookupError, ValueError):
        raise UserError(f"The body cannot be read as charset {charset[:40]}. Send UTF-8.") from None


def _csv(body: bytes, schema: FeatureSchema, header: Header) -> list[Record]:
    lines = split_lines(body)
    records: list[Record] = []
    layout = _Layout(schema, schema.inference_columns)
    start = 0
    while start < len(lines):
        end = start + 1 if lines[start].count(b'"') % 2 == 0 else _end_of_quotes(lines, start)
        line = b"\n".join(lines[start:end])
        if start == 0 and header is not Header.ABSENT and (named := _header(line, schema, header)) is not None:
            layout = named
            records.append(Record(1, is_header=True))
        else:
            records.append(_line_record(start + 1, line, layout))
        start = end
    return records


def _end_of_quotes(lines: Sequence[bytes], start: int) -> int:
    """Return the end of the record that begins at line `start` and has an open quote there."""
    quotes = 0
    for end in range(start, len(lines)):
        quotes += lines[end].count(b'"')
        if quotes % 2:
            continue
        text = b"\n".join(lines[start : end + 1]).decode("utf-8", errors="replace")
        try:
            _fields(text)
        except csv.Error:
            break
        return end + 1
    raise UserError(
        f"line {start + 1}: a quote is not closed. SplitType Line cuts cells with newlines apart: write files that may "
        "be cut with `multimodal-algo prepare`, or send JSON Lines (application/jsonlines). No row of this request was "
        "answered."
    )


def _fields(text: str) -> list[str]:
    """Return the cells of the one record in `text`. An empty text has no cells.

    Raises
    ------
    csv.Error
        The text is not one record.
    """
    # The text is given as one line, so that a newline outside quotes is an error and not the end of a record.
    return next(csv.reader([text], strict=True))


@dataclass(frozen=True)
class _Layout:
    """The column of each field of a line."""

    schema: FeatureSchema
    columns: tuple[str, ...]

    def cells(self, fields: Sequence[str]) -> tuple[str, ...]:
        """Return the fields in the order of the schema."""
        if self.columns == self.schema.inference_columns:
            return tuple(fields)
        by_name = dict(zip(self.columns, fields, strict=True))
        return tuple(by_name[column] for column in self.schema.inference_columns)

    def identity(self, fields: Sequence[str]) -> str:
        """Return the ID of a row. A row with a wrong number of fields only has it if it is the first field."""
        if ID not in self.columns:
            return ""
        position = self.columns.index(ID)
        return fields[position] if position == 0 or len(fields) == len(self.columns) else ""


def _header(line: bytes, schema: FeatureSchema, header: Header) -> _Layout | None:
    """Return the layout that the first line names. Return None if the line is a row."""
    try:
        fields = tuple(_fields(line.decode("utf-8")))
    except (csv.Error, UnicodeDecodeError):
        fields = ()
    if fields == schema.inference_columns:
        return _Layout(schema, fields)
    if header is Header.AUTO:
        return None
    if missing := [column for column in schema.inference_columns if column not in fields]:
        raise UserError(
            f"The content type says header=present, but line 1 does not name the column {missing[0]}. With SplitType "
            "Line only the first request has the header: leave header=present out, the training header is recognised."
        )
    if len(set(fields)) < len(fields):
        raise UserError("The header in line 1 names a column twice.")
    return _Layout(schema, fields)


def _line_record(number: int, line: bytes, layout: _Layout) -> Record:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"byte 0x{line[error.start]:02x} at position {error.start + 1}"
        return Record(number, problem=f"not UTF-8 ({where})")
    if not text and len(layout.columns) > 1:
        return Record(number, problem="a blank line", is_blank=True)
    try:
        # The csv module reads an empty line as no cells. Where rows have one column, it is one empty cell.
        fields = _fields(text) or [""]
    except csv.Error as error:
        return Record(number, problem=f"not well-formed CSV ({error})")
    identity = layout.identity(fields)
    if len(fields) != len(layout.columns):
        return Record(number, problem=_wrong_width(len(fields), layout), identity=identity)
    return Record(number, layout.cells(fields), identity=identity)


def _wrong_width(fields: int, layout: _Layout) -> str:
    """Return the problem of a row with this number of fields, and a hint at the cause."""
    expected = layout.columns
    hint = ""
    if fields == len(expected) + 1 and LABEL not in expected:
        hint = "; leave the label out"
    elif layout.schema.has_id and fields == len(expected) - 1:
        hint = f"; is {ID} missing?"
    shown = ", ".join(expected[:12]) + (", …" if len(expected) > 12 else "")
    return f"{fields} fields instead of {len(expected)} ({shown}{hint})"


class _NotACell(ValueError):
    """A JSON value cannot be a cell."""


def _json_lines(body: bytes, schema: FeatureSchema) -> list[Record]:
    records = []
    for number, line in enumerate(split_lines(body), start=1):
        if not line.strip():
            records.append(Record(number, problem="a blank line", is_blank=True))
            continue
        try:
            records.append(_value_record(number, _loads(line), schema))
        except _NotJson as error:
            records.append(Record(number, problem=str(error)))
    return records


def _json(body: bytes, schema: FeatureSchema) -> Decoded:
    try:
        value = _loads(body)
    except _NotJson as error:
        # SplitType Line makes bodies with one object per line.
        if b"\n" in body.strip():
            return Decoded(_json_lines(body, schema), is_single=True)
        raise UserError(f"The body is {error}.") from None
    if isinstance(value, dict) and "instances" not in value:
        return Decoded([_value_record(1, value, schema)], is_single=True)
    instances = value["instances"] if isinstance(value, dict) else value
    if not isinstance(instances, list):
        raise UserError('The body must be {"instances": [...]}, a list of rows, or one row as an object.')
    return Decoded([_value_record(number, instance, schema) for number, instance in enumerate(instances, start=1)])


class _NotJson(ValueError):
    """A text is not JSON."""


def _loads(text: bytes) -> Any:
    try:
        # Numbers stay text, because a category may be 007 or 1.10.
        value = json.loads(text.decode("utf-8"), parse_int=str, parse_float=str, parse_constant=str)
        # JSON's escapes allow a lone surrogate, which is not valid Unicode.
        if b"\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise _NotJson("not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise _NotJson(f"not JSON ({str(error)[:80]})") from None
    return value


def _value_record(number: int, value: Any, schema: FeatureSchema) -> Record:
    if isinstance(value, dict) and list(value) == ["features"]:
        value = value["features"]
    try:
        if isinstance(value, dict):
            return _object_record(number, value, schema)
        if isinstance(value, list):
            layout = _Layout(schema, schema.inference_columns)
            if len(value) != len(layout.columns):
                return Record(number, problem=_wrong_width(len(value), layout))
            cells = tuple(_cell(column, cell) for column, cell in zip(layout.columns, value, strict=True))
            return Record(number, cells, identity=layout.identity([str(cell) for cell in cells]))
    except _NotACell as error:
        identity = value.get(ID, "") if isinstance(value, dict) else ""
        return Record(number, problem=str(error), identity=identity if isinstance(identity, str) else "")
    return Record(number, problem="neither an object nor a list of cells")


def _object_record(number: int, value: Mapping[str, Any], schema: FeatureSchema) -> Record:
    identity = _cell(ID, value.get(ID)) if schema.has_id else ""
    if problem := _wrong_names(value, schema):
        return Record(number, problem=problem, identity=identity)
    cells = tuple(_cell(column, value.get(column)) for column in schema.inference_columns)
    return Record(number, cells, identity=identity)


def _wrong_names(names: Mapping[str, Any], schema: FeatureSchema) -> str | None:
    """Return the problem with the names of a row's cells, or None. Cells may be absent, but not under another name."""
    missing = [column for column in schema.features if column not in names]
    if len(missing) == len(schema.features):
        return f"none of the columns {', '.join(schema.features[:12])} is there"
    unknown = [name for name in names if name not in (*schema.features, ID, LABEL)]
    if not missing or not unknown:
        return None
    close = difflib.get_close_matches(unknown[0], missing, n=1, cutoff=0.6)
    hint = f"is it {close[0]}?" if close else f"{missing[0]} is missing"
    return f"there is no column '{unknown[0][:60]}'; {hint}"


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):  # training reads booleans in the same way
        return "true" if value else "false"
    if isinstance(value, list) and modality_of(column) is Modality.IMAGE and all(isinstance(v, str) for v in value):
        return ";".join(value)
    shown = json.dumps(value)[:40]
    raise _NotACell(f"column {column}: {shown} is not a cell; write a string, a number, true, false or null")


def _parquet(body: bytes, schema: FeatureSchema) -> list[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from multimodal_algo.ingest.parquet import rows_of

    try:
        file: Any = pq.ParquetFile(io.BytesIO(body))  # type: ignore[no-untyped-call]
        names = file.schema_arrow.names
        if problem := _wrong_names(dict.fromkeys(names), schema):
            raise UserError(f"The Parquet body cannot be read: {problem}.")
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        if sum(max(group.total_byte_size, group.num_rows) for group in groups) > _MOST_PARQUET_BYTES:
            raise UserError("The Parquet body is too large in memory. Send fewer rows at a time.")
        positions = [names.index(column) if column in names else None for column in schema.inference_columns]
        id_position = names.index(ID) if ID in names and schema.has_id else None
        return [
            Record(
                number,
                tuple("" if position is None else cells[position] for position in positions),
                identity="" if id_position is None else str(cells[id_position]),
            )
            for number, cells in enumerate(rows_of(file, "The Parquet body"), start=1)
        ]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"The body cannot be read as Parquet ({str(error).split(chr(10))[0][:120]}).") from None
