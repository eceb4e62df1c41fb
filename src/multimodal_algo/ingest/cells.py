"""Parses a raw cell into the value that models of its modality take, or gives a reason why it cannot be read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from multimodal_algo.core.column_names import AS_WRITTEN, ColumnNames
from multimodal_algo.core.schema import Modality
from multimodal_algo.core.values import category_value, is_like_missing, trimmed
from multimodal_algo.ingest.decoded import DecodedImages
from multimodal_algo.ingest.image_input import IMAGENET, ImageInput

if TYPE_CHECKING:
    from multimodal_algo.ingest.images import ImageFiles

_MISSING_NUMBERS = frozenset({"", "nan", "na", "null"})


@dataclass(frozen=True)
class CellRules:
    """How the cells of a dataset are parsed.

    Parameters
    ----------
    images
        Files that image cells may name. None if the job has no ``images`` channel.
    missing
        Texts that count as an empty cell, from the hyperparameter ``missing_values``.
    number_categories
        Category columns whose values are numbers, see `values.are_numbers`. Training finds them from all rows.
    image_input
        Size and form of the images that the image network takes.
    prepare
        Function that is called with the decoded images of a cell, in the thread that has decoded them.
    names
        The user's own names of the columns, for messages.
    """

    images: ImageFiles | None = None
    missing: frozenset[str] = frozenset()
    number_categories: frozenset[str] = frozenset()
    image_input: ImageInput = IMAGENET
    prepare: Callable[[DecodedImages], None] | None = None
    names: ColumnNames = AS_WRITTEN


PLAIN = CellRules()


class BadCell(ValueError):
    """Raised for a cell that cannot be read. The message is the reason, without file, row and column."""


def parse_cell(modality: Modality, cell: Any, rules: CellRules = PLAIN) -> Any:
    """Parse a raw cell into the value that models take.

    Parameters
    ----------
    modality
        Modality of the column.
    cell
        String, or bytes of an encoded image.
    rules
        How the cells of the dataset are parsed.

    Returns
    -------
    str | float | DecodedImages
        Text: the string in Unicode form NFC, without white space at its ends. ``NA``, ``NaN``, ``None`` and ``null``
        are values.
        Categories: see `category_value`. ``NA``, ``NaN``, ``None`` and ``null`` are values, but ``NaN`` is missing in a
        column of numbers, see `in_number_column`.
        Numbers: a finite float, or NaN for the empty cell, ``NaN``, ``NA`` and ``null``.
        Images: the decoded images of the cell, none for the empty cell.
        A missing text or category is the empty string.

    Raises
    ------
    BadCell
        The cell is not a number where it should be, or an image cannot be decoded.
    """
    if rules.missing and isinstance(cell, str) and trimmed(cell) in rules.missing:
        cell = ""
    if modality is Modality.NUM:
        return _parse_number(str(cell))
    if modality is Modality.IMAGE:
        from multimodal_algo.ingest.images import decode_images  # other servers do without image libraries

        try:
            images = decode_images(cell, rules.images, rules.image_input)
        except ValueError as error:
            raise BadCell(f"{error}{_hint(cell)}") from None
        if rules.prepare is not None:
            rules.prepare(images)
        return images
    if isinstance(cell, bytes):
        raise BadCell("bytes, which only an image may be")
    return category_value(cell) if modality is Modality.CAT else trimmed(cell)


def is_missing(modality: Modality, value: Any) -> bool:
    """Return whether a parsed value means "no value": NaN, an empty string or no image."""
    if modality is Modality.NUM:
        return math.isnan(value)
    return len(value) == 0


def _parse_number(cell: str) -> float:
    text = cell.strip()
    if text.lower() in _MISSING_NUMBERS:
        return math.nan
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    # Python reads 1_000 as a number; no other reader of CSV does.
    if not math.isfinite(number) or "_" in text:
        raise BadCell(f"'{text[:40]}' is not a finite number{_hint(text)}")
    return number


def _hint(cell: Any) -> str:
    """Return a hint for the end of a message if people write `cell` for a missing value, otherwise an empty text."""
    text = cell.strip() if isinstance(cell, str) else ""
    return f"; missing_values={text} would take it for a missing cell" if is_like_missing(text) else ""
