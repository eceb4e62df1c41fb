"""Parses rows. A pool of threads decodes images while the next rows are read."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from multimodal_algo.core.column_names import AS_WRITTEN, ColumnNames
from multimodal_algo.core.schema import ID, LABEL, Modality, modality_of
from multimodal_algo.core.values import in_number_column
from multimodal_algo.ingest.cells import PLAIN, BadCell, CellRules, parse_cell


@dataclass(frozen=True)
class ParsedRow:
    """The parsed feature cells of a row.

    Parameters
    ----------
    cells
        Parsed value of each feature column, see `parse_cell`. Cells that cannot be read are left out.
    problems
        Column and reason of each cell that cannot be read.
    names
        The user's own names of the columns, for messages.
    """

    cells: dict[str, Any]
    problems: list[tuple[str, str]]
    names: ColumnNames = AS_WRITTEN

    @property
    def problem(self) -> str | None:
        """The first problem, as ``column …: reason``. None if all cells can be read."""
        if not self.problems:
            return None
        column, reason = self.problems[0]
        return f"column {self.names.own(column)}: {reason}"


class PendingRow:
    """A row whose images may still be in decoding."""

    def __init__(self, cells: dict[str, Any], problems: list[tuple[str, str]], names: ColumnNames = AS_WRITTEN) -> None:
        self._cells = cells
        self._problems = problems
        self._names = names

    def finish(self) -> ParsedRow:
        """Wait until the images are decoded, and return the parsed row."""
        cells: dict[str, Any] = {}
        for column, value in self._cells.items():
            try:
                cells[column] = value.result() if isinstance(value, Future) else value
            except BadCell as error:
                self._problems.append((column, str(error)))
        return ParsedRow(cells, self._problems, self._names)

    def cancel(self) -> None:
        """Cancel images whose decoding has not begun, because nobody needs the row any more."""
        for value in self._cells.values():
            if isinstance(value, Future):
                value.cancel()


class RowParser:
    """Parses rows, in training and serving.

    Parameters
    ----------
    columns
        Names of a row's fields, in training order, or in inference order without ``label``.
    pool
        Threads that decode images. None decodes each image at once.
    rules
        How cells are parsed.
    """

    def __init__(self, columns: Sequence[str], pool: Executor | None = None, rules: CellRules = PLAIN) -> None:
        self._features = [
            (position, column, modality, column in rules.number_categories)
            for position, column in enumerate(columns)
            if column not in (LABEL, ID) and (modality := modality_of(column)) is not None
        ]
        self._pool = pool
        self._rules = rules

    def start(self, fields: Sequence[Any]) -> PendingRow:
        """Begin to parse a row, which must have one field per column. Its images are decoded in the pool."""
        cells: dict[str, Any] = {}
        problems: list[tuple[str, str]] = []
        for position, column, modality, by_value in self._features:
            field = fields[position]
            if modality is Modality.IMAGE and self._pool is not None and field:
                cells[column] = self._pool.submit(parse_cell, modality, field, self._rules)
                continue
            try:
                value = parse_cell(modality, field, self._rules)
                cells[column] = in_number_column(value) if by_value else value
            except BadCell as error:
                problems.append((column, str(error)))
        return PendingRow(cells, problems, self._rules.names)
