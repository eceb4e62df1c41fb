"""Cells: a raw string becomes the value that a modality takes, or a reason why it cannot be read."""

from __future__ import annotations

import math
from typing import Any

from multimodal_algo.core.schema import Modality
from multimodal_algo.ingest.images import ImageFiles, decode_images

_MISSING_NUMBERS = frozenset({"", "nan", "na", "null"})


class BadCell(ValueError):
    """A cell cannot be read. The message is the reason, without file, row and column."""


def parse_cell(modality: Modality, cell: Any, images: ImageFiles | None = None) -> Any:
    """Return the value of a raw cell.

    Parameters
    ----------
    modality
        Modality of the column.
    cell
        String, or bytes of an encoded image.
    images
        Files that image cells may name.

    Returns
    -------
    str | float | tuple[numpy.ndarray, ...]
        Text and categories: the string itself. Only the empty cell is missing. ``NA``, ``None`` and ``null`` are
        values.
        Numbers: a finite float, or NaN for the empty cell, ``NaN``, ``NA`` and ``null``.
        Images: the decoded images of the cell, see `decode_images`. The tuple is empty for the empty cell.

    Raises
    ------
    BadCell
        A number does not parse, or an image does not decode.
    """
    if modality is Modality.NUM:
        return _parse_number(str(cell))
    if modality is Modality.IMAGE:
        try:
            return decode_images(cell, images)
        except ValueError as error:
            raise BadCell(str(error)) from None
    if isinstance(cell, bytes):
        raise BadCell("bytes, which only an image may be")
    return cell


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
        raise BadCell(f"'{text[:40]}' is not a finite number")
    return number
