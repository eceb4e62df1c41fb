"""Columns of a dataset: their modality, which the suffix names, and their order.

The names ``label`` and ``ID`` and the four suffixes stand in this module alone. It imports no heavy library, so that
the command line starts quickly.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from multimodal_algo.core.errors import UserError

LABEL = "label"
ID = "ID"


class Modality(StrEnum):
    """The kind of data in a column. The value is the suffix of the column without the underscore."""

    TEXT = "text"
    NUM = "num"
    CAT = "cat"
    IMAGE = "image"

    @property
    def suffix(self) -> str:
        """The ending of the columns of this modality, for example ``_text``."""
        return f"_{self.value}"


def modality_of(column: str) -> Modality | None:
    """Return the modality of a feature column from its suffix. None for other columns, also ``label`` and ``ID``."""
    for modality in Modality:
        if column.endswith(modality.suffix):
            return modality
    return None


@dataclass(frozen=True)
class FeatureSchema:
    """The columns of a dataset.

    Parameters
    ----------
    columns
        All columns of the training file in their order, with ``label`` and with ``ID`` if it exists.
    """

    columns: tuple[str, ...]

    @classmethod
    def from_header(cls, header: Sequence[str], where: str) -> FeatureSchema:
        """Make the schema from the header of a training file.

        Raises
        ------
        UserError
            The header has a problem, see `header_problems`. The message begins with `where`.
        """
        problems = header_problems(header)
        if problems:
            raise UserError(f"{where}: {problems[0]}")
        return cls(tuple(header))

    @cached_property
    def features(self) -> tuple[str, ...]:
        """The feature columns, in file order."""
        return tuple(column for column in self.columns if column not in (LABEL, ID))

    @property
    def has_id(self) -> bool:
        """Whether rows have an ``ID``."""
        return ID in self.columns

    @cached_property
    def inference_columns(self) -> tuple[str, ...]:
        """The fields of an inference line: all training columns except ``label``, in the same order."""
        return tuple(column for column in self.columns if column != LABEL)

    def of(self, modality: Modality) -> tuple[str, ...]:
        """Return the feature columns of one modality, in file order."""
        return tuple(column for column in self.features if modality_of(column) is modality)


def header_problems(header: Sequence[str]) -> list[str]:
    """Return all problems of a training header as sentences. Empty for a correct header."""
    problems: list[str] = []
    features = [column for column in header if column not in (LABEL, ID)]
    if not any(modality_of(column) for column in features) and LABEL not in header:
        shown = ", ".join(_shortened(column) for column in header[:4])
        return [
            f"the first line is not a header ({shown}, …). Training files need a header line with 'label' "
            "and columns that end in _text, _num, _cat or _image."
        ]
    if LABEL not in header:
        problems.append(
            f"there is no 'label' column among {_listed(header)}.{_nearest(LABEL, header)} "
            "Training needs a 'label' column."
        )
    for column in dict.fromkeys(header):
        if header.count(column) > 1:
            problems.append(
                f"the column '{_shortened(column)}' occurs {header.count(column)} times. Rename or drop one."
            )
    for column in features:
        if modality_of(column) is None:
            problems.append(
                f"the column '{_shortened(column)}' has no known suffix. "
                "Rename it to end in _text, _num, _cat or _image, or drop it."
            )
    if not features:
        problems.append("there is no feature column. Add columns that end in _text, _num, _cat or _image.")
    return problems


def _nearest(name: str, header: Sequence[str]) -> str:
    for column in header:
        if column.strip().lower() == name and column != name:
            return f" Rename '{column}' to '{name}'."
    close = difflib.get_close_matches(name, [column.lower() for column in header], n=1, cutoff=0.75)
    if not close:
        return ""
    original = next(column for column in header if column.lower() == close[0])
    return f" Did you mean to call '{original}' '{name}'?"


def _listed(header: Sequence[str]) -> str:
    return ", ".join(f"'{_shortened(column)}'" for column in header[:12]) + (", …" if len(header) > 12 else "")


def _shortened(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
