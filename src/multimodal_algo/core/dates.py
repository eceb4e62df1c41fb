"""Dates in cells, and the numbers that they become. Training and serving share these functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from functools import lru_cache

from multimodal_algo.core.values import trimmed

PARTS = ("days", "year", "month", "weekday")
"""The numbers that a date becomes. ``days`` are days since 1970-01-01, with the time of day as a fraction. ``weekday``
is from 1 for Monday to 7 for Sunday.
"""
_EMPTY = ("",) * len(PARTS)
_EPOCH = date(1970, 1, 1).toordinal()
_DAY_S = 24 * 60 * 60
_LONGEST = 60
# A column holds dates if at least this share of its cells are dates.
_MOST = 0.95
_TIME = (
    r"(?:[T ,]+(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,]\d+)?)? ?(?P<half>[AaPp][Mm])?"
    r" ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d)?)?"
)
_YEAR_FIRST = r"(?P<year>\d{4})(?P<gap>[-/.]?)(?P<month>\d\d?)(?P=gap)(?P<day>\d\d?)"
_DAY_FIRST = r"(?P<day>\d\d?)(?P<gap>[-/.])(?P<month>\d\d?)(?P=gap)(?P<year>\d{4})"
_MONTH_FIRST = r"(?P<month>\d\d?)(?P<gap>[-/])(?P<day>\d\d?)(?P=gap)(?P<year>\d{4})"
_NAME = r"(?P<name>[A-Za-z]{3,9})\.?"
_DAY_AND_NAME = rf"(?P<day>\d\d?)(?:\. ?|[- ]){_NAME},?[- ](?P<year>\d{{4}})"
_NAME_AND_DAY = rf"{_NAME} (?P<day>\d\d?)(?:[snrt][tdh])?,? (?P<year>\d{{4}})"
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip


class DateForm(StrEnum):
    """The order of year, month and day in the dates of a column."""

    YEAR_FIRST = "ymd"
    DAY_FIRST = "dmy"
    MONTH_FIRST = "mdy"


_ALWAYS = tuple(re.compile(form + _TIME, re.ASCII) for form in (_YEAR_FIRST, _DAY_AND_NAME, _NAME_AND_DAY))
_FORMS = {
    DateForm.YEAR_FIRST: _ALWAYS,
    DateForm.DAY_FIRST: (*_ALWAYS, re.compile(_DAY_FIRST + _TIME, re.ASCII)),
    DateForm.MONTH_FIRST: (*_ALWAYS, re.compile(_MONTH_FIRST + _TIME, re.ASCII)),
}


def forms_of(cells: Sequence[str]) -> tuple[DateForm, ...]:
    """Return the forms of dates in which the cells of a column can be read.

    Parameters
    ----------
    cells
        Cells that are not empty.

    Returns
    -------
    tuple[DateForm, ...]
        Empty if no form reads at least 95 % of the cells. Two forms if no cell shows whether the day or the month
        comes first. Otherwise the one form that reads the most cells.
    """
    counts = {form: sum(_parsed(cell, form) is not None for cell in cells) for form in DateForm}
    most = max(counts.values())
    if not cells or most < _MOST * len(cells):
        return ()
    if counts[DateForm.YEAR_FIRST] == most:
        return (DateForm.YEAR_FIRST,)
    return tuple(form for form, count in counts.items() if count == most)


@lru_cache(maxsize=100_000)
def numbers_of(cell: str, form: DateForm) -> tuple[str, ...]:
    """Return the numbers of a date as texts, one for each of `PARTS`. The texts are empty if the cell is not a date.

    Every form reads dates that begin with the year, and dates with the English name of a month. The offset of a time
    zone is ignored: the day and the time are those that are written.

    Parameters
    ----------
    cell
        Text of the cell.
    form
        Order of year, month and day.
    """
    parsed = _parsed(cell, form)
    if parsed is None:
        return _EMPTY
    day, seconds = parsed
    days = day.toordinal() - _EPOCH
    shown = str(days) if not seconds else repr(round(days + seconds / _DAY_S, 6))
    return shown, str(day.year), str(day.month), str(day.isoweekday())


def _parsed(cell: str, form: DateForm) -> tuple[date, int] | None:
    """Return the day and the seconds since midnight that a cell spells. Return None if the cell is not a date."""
    text = trimmed(cell) if isinstance(cell, str) and len(cell) <= _LONGEST else ""
    match = next((match for pattern in _FORMS[form] if (match := pattern.fullmatch(text))), None) if text else None
    if match is None:
        return None
    values = match.groupdict()
    if values.get("gap") == "" and len(match["month"] + match["day"]) != 4:
        return None  # 202411 may be January or November
    try:
        month = _month(values["name"]) if "name" in values else int(values["month"])
        return date(int(values["year"]), month, int(values["day"])), _seconds(values)
    except ValueError:
        return None


def _month(name: str) -> int:
    month = next((number for number, month in enumerate(_MONTHS, start=1) if month.startswith(name.lower())), None)
    if month is None:
        raise ValueError("month")
    return month


def _seconds(values: dict[str, str | None]) -> int:
    hour, minute, second = (int(values[name] or 0) for name in ("hour", "minute", "second"))
    if half := values["half"]:
        if not 1 <= hour <= 12:
            raise ValueError("hour")
        hour = hour % 12 + (12 if half.lower() == "pm" else 0)
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("time")
    return hour * 3600 + minute * 60 + second
