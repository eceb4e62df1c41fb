"""JSON Lines and JSON bodies become records (rows)."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import ID, LABEL, FeatureSchema, Modality, modality_of
from multimodal_algo.serving.decoding.bounds import BodyTooLarge, require_room, row_bytes
from multimodal_algo.serving.decoding.encodings import not_utf8, refuse_another_encoding
from multimodal_algo.serving.decoding.headers import folded
from multimodal_algo.serving.decoding.records import Decoded, KeyCounts, Layout, Reading, Record

# Most values of a text that is parsed at once. No other thread runs meanwhile, and a million take about a second.
_MOST_VALUES = 1_000_000


class _NotACell(ValueError):
    """Error: a JSON value cannot be a cell."""


class _NotJson(ValueError):
    """Error: a text is not JSON."""


def read_json_lines(body: bytes, schema: FeatureSchema, reading: Reading) -> Decoded:
    """Return the records (rows) of a body with one JSON object per line.

    Raises
    ------
    UserError
        All of the body is in another encoding, or its lines cannot be separated.
    """
    rows = _Rows(schema, reading)
    lines = split_lines(body)
    records: list[Record] = []
    for number, line in enumerate(lines, start=1):
        if b"\r" in line:
            records.extend(_separated(number, line, rows))
        else:
            records.append(rows.of_line(number, line))
    if any((record.problem or "").startswith("not UTF-8") for record in records):
        refuse_another_encoding(lines)
    return Decoded(records, is_single=True, warnings=rows.warnings())


def read_json(body: bytes, schema: FeatureSchema, reading: Reading) -> Decoded:
    """Return the records (rows) of a JSON body: one object, a list, ``{"instances": list}``, or one object per line.

    Raises
    ------
    UserError
        The body has none of these forms, or is in another encoding.
    """
    try:
        value = _loads(body)
    except _NotJson as error:
        # SplitType Line makes bodies with one object per line.
        if b"\n" in body.strip() or b"\r" in body.strip():
            return read_json_lines(body, schema, reading)
        raise UserError(f"The body is {error}.") from None
    rows = _Rows(schema, reading)
    if isinstance(value, dict) and "instances" not in value:
        return Decoded([rows.of_value(1, value)], is_single=True, warnings=rows.warnings())
    instances = value["instances"] if isinstance(value, dict) else value
    if not isinstance(instances, list):
        raise UserError('The body must be {"instances": [...]}, a list of rows, or one row as an object.')
    require_room(row_bytes(len(instances), 0), reading.most_bytes)
    records = [rows.of_value(number, instance) for number, instance in enumerate(instances, start=1)]
    return Decoded(records, warnings=rows.warnings())


def split_lines(body: bytes) -> list[bytes]:
    r"""Return the lines of a body, cut at ``\n`` only, each without its ``\n``, and without ``\r`` at its end.

    The last line may lack its newline. An empty body has no lines. Python's ``splitlines`` also cuts at U+2028 and
    similar characters, which are legal inside text.
    """
    if not body:
        return []
    lines = body.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.rstrip(b"\r") for line in lines]


def wrong_names(names: Mapping[str, Any], schema: FeatureSchema) -> str | None:
    """Return the problem with the column names of a table, or None. Columns may be missing, but not misspelt."""
    missing = [column for column in schema.features if column not in names]
    unknown = [name for name in names if name not in (*schema.features, ID, LABEL)]
    if len(missing) == len(schema.features):
        return _none_is_there(unknown, schema)
    if not missing or not unknown:
        return None
    for name in unknown[:100]:
        if near := _nearest(name, missing):
            return f"there is no column '{name[:60]}'; is it {near}?"
    return f"there is no column '{unknown[0][:60]}'; {missing[0]} is missing"


class _Rows:
    """Turns JSON values into records, and counts the keys that are not columns of the model."""

    def __init__(self, schema: FeatureSchema, reading: Reading) -> None:
        self._schema = schema
        self._known = frozenset((*schema.features, ID, LABEL))
        self._layout = Layout.of_lines(schema, id_absent=bool(reading.id_absent))
        self._refuses_keys = reading.refuse_unknown_keys
        self._names = reading.names
        self._keys = KeyCounts()

    def warnings(self) -> tuple[str, ...]:
        """Return sentences for the log about keys that were ignored."""
        missing = sorted(self._keys.missing)
        nearest = {name: near for name in self._keys.rows if (near := _nearest(name, missing))}
        return self._keys.warnings(nearest)

    def of_line(self, number: int, line: bytes) -> Record:
        """Return the record of one line of JSON."""
        if not line.strip():
            return Record(number, problem="a blank line", is_blank=True)
        try:
            return self.of_value(number, _loads(line))
        except _NotJson as error:
            return Record(number, problem=str(error))

    def of_value(self, number: int, value: Any) -> Record:
        """Return the record of a JSON object, or of a list of cells."""
        if isinstance(value, dict) and list(value) == ["features"]:
            value = value["features"]
        try:
            if isinstance(value, dict):
                return self._of_object(number, value)
            if isinstance(value, list):
                return self._of_list(number, value)
        except _NotACell as error:
            identity = value.get(ID, "") if isinstance(value, dict) else ""
            return Record(number, problem=str(error), identity=identity if isinstance(identity, str) else "")
        return Record(number, problem="neither an object nor a list of cells")

    def _of_list(self, number: int, values: list[Any]) -> Record:
        layout = self._layout
        if len(values) != layout.width:
            return Record(number, problem=layout.wrong_width(values))
        cells = [_cell(column, value) for column, value in zip(layout.columns, values, strict=True)]
        return Record(number, layout.cells(cells), identity=layout.identity([str(cell) for cell in cells]))

    def _of_object(self, number: int, value: Mapping[str, Any]) -> Record:
        schema, names = self._schema, self._names
        if not names.are_suffixed:
            value = {names.canonical(name): cell for name, cell in value.items() if name not in names.dropped}
        identity = _cell(ID, value.get(ID)) if schema.has_id else ""
        if not self._known.issuperset(value):
            unknown = value.keys() - self._known
            missing = [column for column in schema.inference_columns if column not in value]
            if self._refuses_keys:
                return Record(number, problem=_unknown_key(min(unknown), missing), identity=identity)
            self._keys.add(unknown, missing)
        cells = tuple(_cell(column, value.get(column)) for column in schema.inference_columns)
        if not any(column in value for column in schema.features):
            return Record(number, problem=_none_is_there(list(value), schema), identity=identity)
        return Record(number, cells, identity=identity)


def _separated(number: int, line: bytes, rows: _Rows) -> list[Record]:
    """Return the records of a line with carriage returns.

    It holds several objects that each end with CR, or one bad row.

    Raises
    ------
    UserError
        Some of the parts are JSON, and others are not.
    """
    whole = rows.of_line(number, line)
    if whole.problem is None or not whole.problem.startswith("not JSON"):
        return [whole]
    parts = [part for part in line.split(b"\r") if part.strip()]
    are_json = [_is_json(part) for part in parts]
    if all(are_json):
        return [rows.of_line(number, part) for part in parts]
    if any(are_json):
        raise UserError(
            f"line {number}: {len(parts)} lines end with a carriage return (CR) alone, as old Macs write them, and not "
            "all of them are JSON. End lines with LF or CRLF. No row of this request was answered."
        )
    return [whole]


def _is_json(text: bytes) -> bool:
    try:
        return isinstance(_loads(text), dict | list)
    except _NotJson:
        return False


def _loads(text: bytes) -> Any:
    if text.count(b",") > _MOST_VALUES:
        raise BodyTooLarge(
            f"A JSON text has more than {_MOST_VALUES:,} values. Send fewer rows at a time, or JSON Lines "
            "(application/jsonlines)."
        )
    try:
        # Numbers stay text, because a category may be 007 or 1.10. NaN is not JSON, but Python and pandas write it.
        decoded = text.decode("utf-8")
        value = json.loads(decoded, parse_int=str, parse_float=str, parse_constant=_constant)
        # JSON's escapes allow a lone surrogate, which is not valid Unicode.
        if b"\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise _NotJson(not_utf8(text, error)) from None
    except UnicodeError:
        raise _NotJson("not UTF-8") from None
    except (ValueError, RecursionError) as error:
        hint = "; write one object per line" if str(error).startswith("Extra data") else ""
        raise _NotJson(f"not JSON ({str(error)[:80]}{hint})") from None
    return value


def _constant(name: str) -> str | None:
    """Return the value of one of the words that Python adds to JSON. ``NaN`` stands for a missing value."""
    return None if name == "NaN" else name


def _nearest(name: str, missing: list[str]) -> str | None:
    """Return the missing column that a misspelt key seems to mean, or None."""
    same = [column for column in missing if folded(column) == folded(name)]
    close = same or difflib.get_close_matches(name, missing, n=1, cutoff=0.75)
    return close[0] if close else None


def _unknown_key(name: str, missing: list[str]) -> str:
    near = _nearest(name, missing)
    hint = f"is it {near}?" if near else "leave it out, or set unknown_keys=ignore"
    return f"there is no column '{name[:60]}'; {hint}"


def _none_is_there(names: list[str], schema: FeatureSchema) -> str:
    pairs = [(name, near) for name in names[:100] if (near := _nearest(name, list(schema.features)))]
    hint = f"; is '{pairs[0][0][:60]}' {pairs[0][1]}?" if pairs else ""
    return f"none of the columns {', '.join(schema.features[:12])} is there{hint}"


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
