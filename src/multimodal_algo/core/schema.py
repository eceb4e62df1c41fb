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
    """The kind of data in a column: text, number, category or image.

    The value is the column's suffix without underscore.
    """

    TEXT = "text"
    NUM = "num"
    CAT = "cat"
    IMAGE = "image"

    @property
    def suffix(self) -> str:
        """The ending of the names of such columns, for example ``_text``."""
        return f"_{self.value}"


@lru_cache(maxsize=10_000)
def modality_of(column: str) -> Modality | None:
    """Return the modality that the suffix of a column's name gives. None for ``label``, ``ID`` and any other name."""
    for modality in Modality:
        if column.endswith(modality.suffix):
            return modality
    return None


@dataclass(frozen=True)
class FeatureSchema:
    """The names of the columns of a dataset. The suffix of a name gives the modality of the column.

    Parameters
    ----------
    columns
        All columns of the training file in their order, with ``label`` and with ``ID`` if it exists.
    """

    columns: tuple[str, ...]

    @cached_property
    def features(self) -> tuple[str, ...]:
        """The columns that models learn from, all but ``label`` and ``ID``, in the order of the file."""
        return tuple(column for column in self.columns if column not in (LABEL, ID))

    @property
    def has_id(self) -> bool:
        """Whether rows have an ``ID``."""
        return ID in self.columns

    @cached_property
    def inference_columns(self) -> tuple[str, ...]:
        """The fields of a line in an inference request: all training columns except ``label``, in the same order."""
        return tuple(column for column in self.columns if column != LABEL)

    def of(self, modality: Modality) -> tuple[str, ...]:
        """Return the feature columns of one modality, in the order of the file."""
        return tuple(column for column in self.features if modality_of(column) is modality)
