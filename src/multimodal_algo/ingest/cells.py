"""Cells: a raw string becomes the value that a modality takes, or a reason why it cannot be read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from multimodal_algo.core.schema import Modality
from multimodal_algo.core.values import category_value, is_like_missing, trimmed
from multimodal_algo.ingest.decoded import DecodedImages
from multimodal_algo.ingest.image_input import IMAGENET, ImageInput

if TYPE_CHECKING:
    from multimodal_algo.ingest.images import ImageFiles

_MISSING_NUMBERS = frozenset({"", "nan", "na", "null"})


@dataclass(frozen=True)
class CellRules:
    """Rules that the cells of a data set are read by.

    Parameters
    ----------
    images
        Files that image cells may name. None without an ``images`` channel.
    missing
        Texts that stand for a missing cell, from the hyperparameter ``missing_values``.
    number_categories
        Categories whose values are numbers, see `values.are_numbers`. Training learns them from all rows.
    image_input
        The images that the network takes.
    prepare
        Function that the thread calls which decoded the images of a cell.
    """

    images: ImageFiles | None = None
    missing: frozenset[str] = frozenset()
    number_categories: frozenset[str] = frozenset()
    image_input: ImageInput = IMAGENET
    prepare: Callable[[DecodedImages], None] | None = None


PLAIN = CellRules()


class BadCell(ValueError):
    """A cell cannot be read. The message is the reason, without file, row and column."""


def parse_cell(modality: Modality, cell: Any, rules: CellRules = PLAIN) -> Any:
    """Return the value of a raw cell.

    Parameters
    ----------
    modality
        Modality of the column.
    cell
        String, or bytes of an encoded image.
    rules
        Rules of the data set.

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
        A number does not parse, or an image does not decode.
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
    """Whether a parsed value stands for a missing one."""
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
    """Return the end of a reason, where people write the cell for a missing one."""
    text = cell.strip() if isinstance(cell, str) else ""
    return f"; missing_values={text} would take it for a missing cell" if is_like_missing(text) else ""
