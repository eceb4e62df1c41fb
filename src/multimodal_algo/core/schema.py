"""Columns of a dataset: their modality, which the suffix names, and their order.

The names ``label`` and ``ID`` and the four suffixes stand in this module alone. It imports no heavy library, so that
the command line starts quickly.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache

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


@lru_cache(maxsize=10_000)
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
