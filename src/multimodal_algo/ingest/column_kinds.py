"""Finds the kinds (text, num, cat, image) of columns without suffix, from the first rows of a channel."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from multimodal_algo.core.column_names import AS_WRITTEN, DATE, ColumnNames
from multimodal_algo.core.dates import DateForm, forms_of
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import Modality
from multimodal_algo.core.values import is_code, is_like_missing, trimmed
from multimodal_algo.ingest.cells import BadCell, parse_cell
from multimodal_algo.ingest.image_formats import is_known
from multimodal_algo.ingest.image_text import encoded_image, names_a_file, texts_of
from multimodal_algo.ingest.sources import Source, TableFormat, find_sources, read_rows

_ROWS = 2000
# Share of the filled cells that must be of the kind. Cells of another kind are then reported as bad cells.
_MOST = 0.95
# Few values among many rows are categories, unless they are whole sentences.
_VALUES_PER_ROW, _FEW_VALUES, _LONGEST_CATEGORY = 0.2, 10, 60
_CODE = re.compile(r"[\w.:/+#&-]*\d[\w.:/+#&-]*", re.ASCII)
_NUMBERS = frozenset({"", "nan", "na", "null"})
_HOW = f"{DATE}:{DateForm.DAY_FIRST} or {DATE}:{DateForm.MONTH_FIRST}"


@dataclass(frozen=True)
class FoundKinds:
    """Kinds of columns, found from their cells.

    Parameters
    ----------
    kinds
        Kinds by name of the column, see `ColumnNames`. The kind of a column of dates includes the form of the dates.
    sentences
        Sentences for the log about the kinds that were found, without a full stop at the end.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()


def find_kinds(table: TableFormat, location: Path) -> FoundKinds:
    """Find the kinds of columns that have neither a suffix nor a kind, if the user wants kinds to be found.

    The kind of a column comes from its cells in the first 2,000 rows of the first file. Encoded images or names of
    image files are ``image``, numbers are ``num``, dates are ``date``, and few short values or codes are ``cat``. All
    other cells are ``text``. For a FIFO nothing is found, because it can be read only once.

    Parameters
    ----------
    table
        Form of the files, with the column names and kinds that the user has declared.
    location
        Path of the channel.

    Raises
    ------
    UserError
        The first file cannot be read. Or a column has the kind date, and its cells are not dates, or do not show
        whether the day or the month comes first.
    """
    if not table.names.finds_kinds or location.is_fifo():
        return FoundKinds()
    source, rows, header = _first_file(table, location)
    table.names.check(header, source.name)
    undecided = table.names.undecided(header)
    if not undecided:
        return FoundKinds()
    typed = _kinds_by_type(source.path) if source.is_parquet else {}
    sample = [row for row in islice(rows, _ROWS) if len(row) == len(header)]
    cells = {name: [row[header.index(name)] for row in sample] for name in undecided}
    given = {name for name, kind in table.names.kinds if kind == DATE}
    forms = {name: _form_of(name, cells[name], source.name) for name in undecided if name in given}
    kinds = {name: forms.get(name) or typed.get(name) or kind_of(cells[name]) for name in undecided}
    unclear = [name for name in undecided if kinds[name] in (Modality.CAT, Modality.TEXT) and _is_unclear(cells[name])]
    return FoundKinds(kinds, tuple(_sentences(kinds, given, unclear)))


def _first_file(table: TableFormat, location: Path) -> tuple[Source, Iterator[list[Any]], list[str]]:
    """Return the first file of a channel, an iterator of its rows without any conversion, and its header."""
    source = replace(find_sources(location, table)[0], table=replace(table, names=AS_WRITTEN))
    rows = (row.fields for row in read_rows(source, reports_broken=True))
    return source, rows, [str(name) for name in next(rows, [])]


def names_of_previous(table: TableFormat, location: Path, previous: ColumnNames) -> ColumnNames:
    """Return the column names of a table. Names that the job does not give come from the previous model.

    Parameters
    ----------
    table
        Format of the files, with the names that the job gives.
    location
        Path of the channel. A FIFO is not read: its columns are expected to have the names of the previous model.
    previous
        Column names of the previous model.

    Raises
    ------
    UserError
        The first file cannot be read.
    """
    if location.is_fifo():
        return table.names.completed(previous, [name for name, _ in previous.kinds])
    return table.names.completed(previous, _first_file(table, location)[2])


def _sentences(kinds: Mapping[str, str], given: Collection[str], unclear: Sequence[str]) -> Iterator[str]:
    """Yield sentences about the kinds that were found.

    `given` are columns whose kind was given as dates, so that only the form of the dates was found.
    """
    listed = ", ".join(f"{name[:60]}={kind}" for name, kind in kinds.items() if name not in given)
    if listed:
        yield f"kinds of columns, found from the cells: {listed}. The hyperparameter columns changes them"
    dates = ColumnNames(kinds=tuple(kinds.items()))
    for name, kind in kinds.items():
        if kind.startswith(DATE):
            days, year, month, weekday = dates.in_models([dates.canonical(name)])
            yield (
                f"{name[:60]} holds dates ({kind.removeprefix(f'{DATE}:')}), which become the numbers {days} (since "
                f"1970-01-01), {year}, {month} and {weekday} (1 is Monday)"
            )
    for name in unclear:
        yield (
            f"{name[:60]} looks like dates, but no cell shows whether the day or the month comes first: it is read as "
            f"{kinds[name]}. Give it the kind {_HOW} in columns"
        )


def _form_of(name: str, cells: Sequence[Any], file: str) -> str:
    """Return the kind of a column of dates with the form of its dates. If all cells are empty, take the first form.

    Raises
    ------
    UserError
        The cells are not dates, or do not show whether the day or the month comes first.
    """
    filled = _filled(cells)
    forms = forms_of(filled)
    if len(forms) == 1 or not filled:
        return f"{DATE}:{forms[0] if forms else DateForm.YEAR_FIRST}"
    shown = str(filled[0])[:40]
    if forms:
        raise UserError(
            f"{file}, column {name[:60]}: no cell shows whether the day or the month comes first, for example "
            f"'{shown}'. Give the column the kind {_HOW} in columns."
        )
    raise UserError(
        f"{file}, column {name[:60]}: it has the kind date, but cells are not dates, for example '{shown}'. Write "
        "2024-12-31 or 31.12.2024, or give the column another kind in columns."
    )


def _is_unclear(cells: Sequence[Any]) -> bool:
    return len(forms_of(_filled(cells))) > 1


def _kinds_by_type(path: Path) -> dict[str, str]:
    from multimodal_algo.ingest.parquet import dates_by_type, modalities_by_type

    kinds = {name: modality.value for name, modality in modalities_by_type(path).items()}
    return kinds | dict.fromkeys(dates_by_type(path), f"{DATE}:{DateForm.YEAR_FIRST}")


def kind_of(cells: Sequence[Any]) -> str:
    """Return the kind of a column from its cells, which are strings or bytes of images."""
    filled = _filled(cells)
    if _are_images(filled):
        return Modality.IMAGE.value
    if _are_numbers(filled):
        return Modality.NUM.value
    if len(forms := forms_of(filled)) == 1:
        return f"{DATE}:{forms[0]}"
    return (Modality.CAT if _are_categories(filled) else Modality.TEXT).value


def _filled(cells: Sequence[Any]) -> list[Any]:
    return [cell for cell in cells if not isinstance(cell, str) or not _is_missing(cell)]


def _is_missing(cell: str) -> bool:
    text = trimmed(cell)
    return text.lower() in _NUMBERS or is_like_missing(text)


def _are_images(cells: Sequence[Any]) -> bool:
    return _most(cells, lambda cell: isinstance(cell, bytes) or names_a_file(cell) or _is_encoded(cell))


def _is_encoded(cell: str) -> bool:
    try:
        return all(is_known(encoded_image(text, None)) for text in texts_of(cell)[:1])
    except ValueError:
        return False


def _are_numbers(cells: Sequence[str]) -> bool:
    return _most(cells, _is_number) and not any(is_code(trimmed(cell)) for cell in cells)


def _is_number(cell: str) -> bool:
    try:
        parse_cell(Modality.NUM, cell)
    except BadCell:
        return False
    return True


def _are_categories(cells: Sequence[str]) -> bool:
    values = {trimmed(cell) for cell in cells}
    if _most(list(values), _is_code):
        return True
    is_few = len(values) <= max(_FEW_VALUES if len(cells) > _FEW_VALUES else 1, _VALUES_PER_ROW * len(cells))
    return is_few and _most(list(values), lambda value: len(value) <= _LONGEST_CATEGORY)


def _is_code(value: str) -> bool:
    return len(value) <= _LONGEST_CATEGORY and _CODE.fullmatch(value) is not None


def _most(cells: Sequence[Any], holds: Callable[[Any], bool]) -> bool:
    return bool(cells) and sum(map(holds, cells)) >= _MOST * len(cells)
