"""Finds the kinds (text, num, cat, image) of columns without suffix, from the first rows of a channel."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from multimodal_algo.core.column_names import AS_WRITTEN
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import Modality
from multimodal_algo.core.values import is_code, is_like_missing, trimmed
from multimodal_algo.ingest.cells import BadCell, parse_cell
from multimodal_algo.ingest.image_formats import is_known
from multimodal_algo.ingest.image_text import encoded_image, names_a_file, texts_of
from multimodal_algo.ingest.sources import TableFormat, find_sources, read_rows

_ROWS = 2000
# Share of the filled cells that must be of the kind. Cells of another kind are then reported as bad cells.
_MOST = 0.95
# Few values among many rows are categories, unless they are whole sentences.
_VALUES_PER_ROW, _FEW_VALUES, _LONGEST_CATEGORY = 0.2, 10, 60
_CODE = re.compile(r"[\w.:/+#&-]*\d[\w.:/+#&-]*", re.ASCII)
_NUMBERS = frozenset({"", "nan", "na", "null"})


def find_kinds(table: TableFormat, location: Path) -> dict[str, str]:
    """Return the kinds of the columns that have neither a suffix nor a declared kind. Empty if kinds need not be found.

    Each kind follows from the first 2,000 rows of the first file. It is image if cells are encoded images or names of
    image files, num if they are numbers, cat if there are few short values or codes, and otherwise text.

    Parameters
    ----------
    table
        Form of the files, with the column names and kinds that the user has declared.
    location
        Path of the channel.

    Raises
    ------
    UserError
        The first file cannot be read. Or the channel is a FIFO, which can be read only once.
    """
    if not table.names.finds_kinds:
        return {}
    if location.is_fifo():
        raise UserError(
            f"The channel '{location.name.removesuffix('_0')}' comes by Pipe, so the kinds of its columns cannot be "
            "found before the rows are read: set InputMode to File or FastFile."
        )
    source = replace(find_sources(location, table)[0], table=replace(table, names=AS_WRITTEN))
    rows = (row.fields for row in read_rows(source, reports_broken=True))
    header = [str(name) for name in next(rows, [])]
    table.names.check(header, source.name)
    undecided = table.names.undecided(header)
    if not undecided:
        return {}
    typed = _kinds_by_type(source.path) if source.is_parquet else {}
    sample = [row for row in islice(rows, _ROWS) if len(row) == len(header)]
    return {name: typed.get(name) or kind_of([row[header.index(name)] for row in sample]) for name in undecided}


def sentence_of(kinds: Mapping[str, str]) -> str:
    """Return a sentence for the log with the kinds that were found."""
    listed = ", ".join(f"{name[:60]}={kind}" for name, kind in kinds.items())
    return f"kinds of columns, found from the cells: {listed}. The hyperparameter columns changes them."


def _kinds_by_type(path: Path) -> dict[str, str]:
    from multimodal_algo.ingest.parquet import modalities_by_type

    return {name: modality.value for name, modality in modalities_by_type(path).items()}


def kind_of(cells: Sequence[Any]) -> str:
    """Return the kind that suits the cells of a column. The cells are strings, or bytes of images."""
    filled = [cell for cell in cells if not isinstance(cell, str) or not _is_missing(cell)]
    return next(kind.value for kind, holds in _TESTS if holds(filled))


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


_TESTS: tuple[tuple[Modality, Callable[[Sequence[Any]], bool]], ...] = (
    (Modality.IMAGE, _are_images),
    (Modality.NUM, _are_numbers),
    (Modality.CAT, _are_categories),
    (Modality.TEXT, lambda cells: True),
)
"""The modalities, each with its test. The first that holds counts."""
