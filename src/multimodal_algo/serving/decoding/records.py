"""Records (rows) of a body, and the layout that says which field of a line belongs to which column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

from multimodal_algo.core.column_names import AS_WRITTEN, ColumnNames
from multimodal_algo.core.schema import ID, LABEL, FeatureSchema, Modality, modality_of

_SEPARATORS = {";": "';'", "\t": "a tab", "|": "'|'"}


class Kind(Enum):
    """Format of a request body, with its content types. Answers have the first of these content types."""

    CSV = ("text/csv", "application/csv", "text/x-csv", "application/x-csv")
    JSON_LINES = (
        "application/jsonlines",
        "application/x-jsonlines",
        "application/jsonl",
        "application/x-ndjson",
        "application/ndjson",
    )
    JSON = ("application/json",)
    PARQUET = ("application/x-parquet", "application/vnd.apache.parquet", "application/parquet")


class Header(Enum):
    """Whether a CSV body has header lines.

    With `AUTO`, a line that consists of the model's column names is a header.
    """

    AUTO = "auto"
    PRESENT = "present"
    ABSENT = "absent"


@dataclass(frozen=True)
class Reading:
    """The facts about a request and its server that decide how a body is read.

    Parameters
    ----------
    charset
        Character set of a text body, which may have a byte order mark.
    header
        Whether a CSV body has a header.
    id_absent
        Whether the lines lack the ID column that the model was trained with. If None, the server's setting decides.
    in_batch
        Whether a batch transform job sends the body. Only the first body of a file then has the header.
    single_record
        Whether each body of a batch transform job is one line.
    refuse_unknown_keys
        Whether a JSON row with a key that is not a column is a bad row. Otherwise such keys are counted and ignored.
    names
        The user's own names of the model's columns.
    most_bytes
        Largest number of bytes of memory that the rows may take.
    """

    charset: str = "utf-8"
    header: Header = Header.AUTO
    id_absent: bool | None = None
    in_batch: bool = False
    single_record: bool = False
    refuse_unknown_keys: bool = False
    names: ColumnNames = AS_WRITTEN
    most_bytes: int = 2 * 10**9


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a request body, or a line that cannot be read as a row.

    Parameters
    ----------
    line
        Number of the record's first line in the body, from 1. If the body has no lines, number of the record.
    cells
        Cells in the order of ``schema.inference_columns``: strings, or bytes of an image. Empty if there is a
        `problem`.
    problem
        Reason why the record cannot be read, as a phrase. None if it has a cell for each column.
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
    """The records (rows) of a request body.

    Parameters
    ----------
    records
        Records in order.
    is_single
        Whether the body is one JSON object, or one object per line, instead of a list of objects.
    warnings
        Sentences for the log about what was ignored.
    memory_bytes
        Upper limit of the memory that the records take. If None, it is the result of `memory_of`.
    """

    records: list[Record]
    is_single: bool = False
    warnings: tuple[str, ...] = field(default=())
    memory_bytes: int | None = None


class Layout:
    """Which field of a line belongs to which column of the model.

    Parameters
    ----------
    schema
        Columns of the model.
    columns
        Names of the line's fields, in order. All feature columns of the model must be among them. Other names are
        ignored.
    """

    def __init__(self, schema: FeatureSchema, columns: Sequence[str]) -> None:
        self.schema = schema
        self.columns = tuple(columns)
        self.width = len(self.columns)
        position = {column: number for number, column in enumerate(self.columns)}
        self._id_position = position.get(ID) if schema.has_id else None
        self._positions = None
        if self.columns != schema.inference_columns:
            self._positions = [position.get(column) for column in schema.inference_columns]

    @classmethod
    def of_lines(cls, schema: FeatureSchema, *, id_absent: bool) -> Layout:
        """Return the order of columns (layout) of a body without a header."""
        columns = schema.inference_columns
        return cls(schema, [column for column in columns if column != ID] if id_absent else columns)

    @cached_property
    def number_positions(self) -> tuple[int, ...]:
        """The positions of the fields that belong to columns of numbers."""
        features = self.schema.features
        return tuple(
            number
            for number, column in enumerate(self.columns)
            if column in features and modality_of(column) is Modality.NUM
        )

    def cells(self, fields: Sequence[Any]) -> tuple[Any, ...]:
        """Return the fields of a line in the order of the model's columns.

        If the line has no ID, its ID cell is empty.
        """
        if self._positions is None:
            return tuple(fields)
        return tuple("" if position is None else fields[position] for position in self._positions)

    def identity(self, fields: Sequence[str]) -> str:
        """Return the ID of a row.

        If the row has a wrong number of fields, only an ID in its first field can be found.
        """
        position = self._id_position
        if position is None:
            return ""
        return fields[position] if position == 0 or len(fields) == self.width else ""

    def wrong_width(self, fields: Sequence[Any]) -> str:
        """Return the problem of a row with a wrong number of fields, and a hint at the cause."""
        shown = ", ".join(_shown(column) for column in self.columns[:12]) + (", …" if self.width > 12 else "")
        return f"{len(fields)} fields instead of {self.width} ({shown}{self._hint(fields)})"

    def _hint(self, fields: Sequence[Any]) -> str:
        if len(fields) == 1 and self.width > 1 and isinstance(fields[0], str):
            for separator, name in _SEPARATORS.items():
                if fields[0].count(separator) == self.width - 1:
                    return f"; the separator is {name}, write commas"
        if len(fields) == self.width + 1 and LABEL not in self.columns:
            return "; remove the comma at the end" if fields[-1] == "" else "; leave the label out"
        if ID in self.columns and len(fields) == self.width - 1:
            return f"; is {ID} missing? Set inference_id=absent, or INFERENCE_ID=absent, for lines without it"
        return ""


@dataclass
class KeyCounts:
    """Counts, for each key of JSON rows that is not a column, the rows that have it.

    The number of keys is limited, because a body may have a different key in every row.
    """

    rows: dict[str, int] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    _most: int = 100

    def add(self, unknown: set[str], missing: Sequence[str]) -> None:
        """Count the unknown keys of one row. `missing` are the columns that the row lacks."""
        self.missing.update(missing)
        for name in unknown:
            if name in self.rows or len(self.rows) < self._most:
                self.rows[name] = self.rows.get(name, 0) + 1

    def warnings(self, suggestion: Mapping[str, str]) -> tuple[str, ...]:
        """Return a line for the log, if there were unknown keys. `suggestion` has the nearest column name for a key."""
        if not self.rows:
            return ()
        parts = []
        for name, rows in list(self.rows.items())[:10]:
            near = f", is it {_shown(suggestion[name])}?" if name in suggestion else ""
            parts.append(f"'{_shown(name)}' ({rows} {'row' if rows == 1 else 'rows'}{near})")
        more = len(self.rows) - len(parts)
        shown = ", ".join(parts) + (f" and {more} more" if more > 0 else "")
        return (f"keys that are not columns of the model are ignored: {shown}",)


def _shown(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
