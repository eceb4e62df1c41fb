"""Categories with values that training never saw. Such values count as unknown, and they are logged."""

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
    """Counts the rows of one request that have a category value which training never saw.

    Parameters
    ----------
    known
        The category values that training saw.
    columns
        The model's columns of categories.
    """

    def __init__(self, known: KnownCategories, columns: tuple[str, ...]) -> None:
        self._known = known
        self._columns = columns
        self._rows: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def count(self, cells: Mapping[str, Any]) -> None:
        """Count a row, for each column in which its value is unseen. `cells` are the row's parsed cells."""
        for column in self._columns:
            if self._known.is_unseen(column, cells[column]):
                self._rows[column] += 1
                self._examples.setdefault(column, cells[column])

    def summary(self, rows: int) -> str | None:
        """Return the counts as a phrase for the log, or None if there were no unseen values.

        `rows` is the size of the request.
        """
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
    """Logs unseen category values, with one line for each request, up to a limit of lines."""

    def __init__(self) -> None:
        self._payloads = 0

    def add(self, summary: str | None) -> None:
        """Log the summary of one request, see `UnseenCategories.summary`. None is ignored."""
        if summary is None or self._payloads >= _LOGGED_PAYLOADS:
            return
        self._payloads += 1
        last = ". Further payloads with such values are not logged" if self._payloads == _LOGGED_PAYLOADS else ""
        _LOG.warning("categories have values that training never saw: %s%s", summary, last)
