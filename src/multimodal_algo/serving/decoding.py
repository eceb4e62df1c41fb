"""Bodies to records, in order and none lost: CSV, JSON Lines, JSON, Parquet.

``SplitType: Line`` cuts at every newline, quoted or not: a CSV cell with a newline may arrive torn apart. A line whose
quotes do not pair up is joined with the lines that close them; where they are not in the body, or what comes of it is
no row, the body is refused, since its other half might be read as a row of its own.
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
# What a Parquet body may become in memory.
_MOST_PARQUET_BYTES = 2 * 10**9


class Kind(Enum):
    """What a body is, by its content types; the first is the usual one."""

    CSV = ("text/csv",)
    JSON_LINES = ("application/jsonlines", "application/x-jsonlines", "application/jsonl", "application/x-ndjson")
    JSON = ("application/json",)
    PARQUET = ("application/x-parquet", "application/vnd.apache.parquet", "application/parquet")


class Header(Enum):
    """Whether the first line of a CSV body names its columns; by default it does where it is the training header."""

    AUTO = "auto"
    PRESENT = "present"
    ABSENT = "absent"


@dataclass(frozen=True)
class Record:
    """One row of a body.

    Parameters
    ----------
    line
        Its first line in the body, or its number where there are no lines; from 1.
    cells
        Its cells in the order of ``schema.inference_columns``: strings, or bytes of an image. Empty where `problem` is
        set.
    problem
        Why it cannot be a row, as a sentence without its end; None when it has a cell for each column.
    identity
        Its ID, as well as it can be told; ``""`` where it cannot or there is none.
    is_header
        Whether it names the columns.
    is_blank
        Whether nothing stands on it.
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
        In order.
    is_single
        Whether the body is one JSON object, or several one a line, and not a list of them.
    """

    records: list[Record]
    is_single: bool = False


def decode(
    body: bytes, kind: Kind, schema: FeatureSchema, *, charset: str = "utf-8", header: Header = Header.AUTO
) -> Decoded:
    """The records of `body`.

    Parameters
    ----------
    body
        As it came.
    kind
        What it is.
    schema
        Its ``inference_columns`` are the cells of a record.
    charset
        Of text, with or without byte order mark.
    header
        Of CSV.

    Raises
    ------
    UserError
        It cannot be told what its records are.
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
    r"""The lines of a body, cut at ``\n`` only, each without its ``\n`` or ``\r\n``.

    The last line may lack its newline; an empty body has no lines. Python's ``splitlines`` would also cut at
    U+2028 and others, which are legal inside text.
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
            records.append(_of_line(start + 1, line, layout))
        start = end
    return records


def _end_of_quotes(lines: Sequence[bytes], start: int) -> int:
    """Where the record that begins at `start`, with a quote that is not closed there, ends."""
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
    """The cells of the one record that `text` is; none where it is empty.

    Raises
    ------
    csv.Error
        It is no record, or more than one.
    """
    # As one line, whatever newlines are in it: outside quotes they are errors, not ends of records.
    return next(csv.reader([text], strict=True))


@dataclass(frozen=True)
class _Layout:
    """Which column each field of a line is."""

    schema: FeatureSchema
    columns: tuple[str, ...]

    def cells(self, fields: Sequence[str]) -> tuple[str, ...]:
        if self.columns == self.schema.inference_columns:
            return tuple(fields)
        by_name = dict(zip(self.columns, fields, strict=True))
        return tuple(by_name[column] for column in self.schema.inference_columns)

    def identity(self, fields: Sequence[str]) -> str:
        # A row with a wrong number of fields still has its ID in place when nothing stands before it.
        place = self.columns.index(ID) if ID in self.columns else -1
        return fields[place] if place == 0 or (place > 0 and len(fields) == len(self.columns)) else ""


def _header(line: bytes, schema: FeatureSchema, header: Header) -> _Layout | None:
    """The layout that a first line names; None where it is a row."""
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


def _of_line(number: int, line: bytes, layout: _Layout) -> Record:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"byte 0x{line[error.start]:02x} at position {error.start + 1}"
        return Record(number, problem=f"not UTF-8 ({where})")
    if not text and len(layout.columns) > 1:
        return Record(number, problem="a blank line", is_blank=True)
    try:
        # csv reads an empty line as no cell at all; where rows have one column it is an empty one.
        fields = _fields(text) or [""]
    except csv.Error as error:
        return Record(number, problem=f"not well-formed CSV ({error})")
    identity = layout.identity(fields)
    if len(fields) != len(layout.columns):
        return Record(number, problem=_wrong_width(len(fields), layout), identity=identity)
    return Record(number, layout.cells(fields), identity=identity)


def _wrong_width(found: int, layout: _Layout) -> str:
    expected = layout.columns
    hint = ""
    if found == len(expected) + 1 and LABEL not in expected:
        hint = "; leave the label out"
    elif layout.schema.has_id and found == len(expected) - 1:
        hint = f"; is {ID} missing?"
    shown = ", ".join(expected[:12]) + (", …" if len(expected) > 12 else "")
    return f"{found} fields instead of {len(expected)} ({shown}{hint})"


class _NotACell(ValueError):
    """A JSON value that no cell can be."""


def _json_lines(body: bytes, schema: FeatureSchema) -> list[Record]:
    records = []
    for number, line in enumerate(split_lines(body), start=1):
        if not line.strip():
            records.append(Record(number, problem="a blank line", is_blank=True))
            continue
        try:
            value = _loads(line)
        except _NotJson as error:
            records.append(Record(number, problem=str(error)))
            continue
        records.append(_of_value(number, value, schema))
    return records


def _json(body: bytes, schema: FeatureSchema) -> Decoded:
    try:
        value = _loads(body)
    except _NotJson as error:
        # SplitType Line makes bodies of an object a line.
        if b"\n" in body.strip():
            return Decoded(_json_lines(body, schema), is_single=True)
        raise UserError(f"The body is {error}.") from None
    if isinstance(value, dict) and "instances" not in value:
        return Decoded([_of_value(1, value, schema)], is_single=True)
    instances = value["instances"] if isinstance(value, dict) else value
    if not isinstance(instances, list):
        raise UserError('The body must be {"instances": [...]}, a list of rows, or one row as an object.')
    return Decoded([_of_value(number, instance, schema) for number, instance in enumerate(instances, start=1)])


class _NotJson(ValueError):
    pass


def _loads(text: bytes) -> Any:
    try:
        # Numbers keep their spelling: a category may be 007 or 1.10.
        value = json.loads(text.decode("utf-8"), parse_int=str, parse_float=str, parse_constant=str)
        # A lone surrogate is legal in JSON's escapes, and no Unicode.
        if b"\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise _NotJson("not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise _NotJson(f"not JSON ({str(error)[:80]})") from None
    return value


def _of_value(number: int, value: Any, schema: FeatureSchema) -> Record:
    if isinstance(value, dict) and list(value) == ["features"]:
        value = value["features"]
    try:
        if isinstance(value, dict):
            return _of_object(number, value, schema)
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


def _of_object(number: int, value: Mapping[str, Any], schema: FeatureSchema) -> Record:
    identity = _cell(ID, value.get(ID)) if schema.has_id else ""
    if problem := _wrong_names(value, schema):
        return Record(number, problem=problem, identity=identity)
    cells = tuple(_cell(column, value.get(column)) for column in schema.inference_columns)
    return Record(number, cells, identity=identity)


def _wrong_names(names: Mapping[str, Any], schema: FeatureSchema) -> str | None:
    """What is wrong with the names of a row's cells. Cells may be left out, but not under another name."""
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
    if isinstance(value, bool):  # as ingest reads them
        return "true" if value else "false"
    if isinstance(value, list) and modality_of(column) is Modality.IMAGE and all(isinstance(v, str) for v in value):
        return ";".join(value)
    shown = json.dumps(value)[:40]
    raise _NotACell(f"column {column}: {shown} is no cell; write a string, a number, true, false or null")


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
        places = [names.index(column) if column in names else None for column in schema.inference_columns]
        identity = names.index(ID) if ID in names else None
        return [
            Record(
                number,
                tuple("" if place is None else cells[place] for place in places),
                identity="" if identity is None or not schema.has_id else str(cells[identity]),
            )
            for number, cells in enumerate(rows_of(file, "The Parquet body"), start=1)
        ]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"The body cannot be read as Parquet ({str(error).split(chr(10))[0][:120]}).") from None
