"""Categories of a payload whose values training never saw. They are answered as an unknown value, and logged."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multimodal_algo.ingest.categories import KnownCategories

_LOG = logging.getLogger(__name__)

_SHOWN_COLUMNS, _SHOWN_CHARACTERS = 5, 40
_LOGGED_PAYLOADS = 50


class UnseenCategories:
    """Counter of the rows of one payload that have an unseen value.

    Parameters
    ----------
    known
        Values that training saw.
    columns
        Categorical columns of the model.
    """

    def __init__(self, known: KnownCategories, columns: tuple[str, ...]) -> None:
        self._known = known
        self._columns = columns
        self._rows: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def count(self, cells: Mapping[str, Any]) -> None:
        """Count a row by its parsed cells."""
        for column in self._columns:
            if self._known.is_unseen(column, cells[column]):
                self._rows[column] += 1
                self._examples.setdefault(column, cells[column])

    def summary(self, rows: int) -> str | None:
        """Return what was counted as a phrase. `rows` is the number of rows of the payload. None for nothing."""
        if not self._rows:
            return None
        columns = self._rows.most_common(_SHOWN_COLUMNS)
        parts = [
            f"{column} in {count} of {rows} rows (for example '{self._examples[column][:_SHOWN_CHARACTERS]}')"
            for column, count in columns
        ]
        more = len(self._rows) - len(columns)
        return ", ".join(parts) + (f" and {more} more columns" if more else "")


class UnseenLog:
    """Log of unseen categories, a line for each payload, up to a limit."""

    def __init__(self) -> None:
        self._payloads = 0

    def add(self, summary: str | None) -> None:
        """Log the summary of a payload, see `UnseenCategories.summary`."""
        if summary is None or self._payloads >= _LOGGED_PAYLOADS:
            return
        self._payloads += 1
        last = ". Further payloads with such values are not logged" if self._payloads == _LOGGED_PAYLOADS else ""
        _LOG.warning("categories have values that training never saw: %s%s", summary, last)
