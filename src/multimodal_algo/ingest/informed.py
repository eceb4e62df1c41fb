"""Checks whether the branch (model) of each modality has enough rows to learn from: rows with two different labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multimodal_algo.core.schema import FeatureSchema, modality_of
from multimodal_algo.ingest.cells import is_missing
from multimodal_algo.ingest.statistics import modality_groups


@dataclass
class _Group:
    """The columns of one branch, with up to two labels of its rows. Rows are counted until there are two labels."""

    columns: tuple[str, ...]
    rows: int = 0
    has_cells: bool = False
    labels: set[str] = field(default_factory=set)

    @property
    def is_open(self) -> bool:
        return len(self.labels) < 2


class InformedRows:
    """Finds branches (models of one modality) that cannot learn, because their rows all have one label.

    It can be pickled.

    A branch only uses rows with enough filled cells. It is no longer checked as soon as its rows have two labels.

    Parameters
    ----------
    min_completeness
        The hyperparameter: least share of a row's cells of one modality that must be filled.
    """

    def __init__(self, min_completeness: float) -> None:
        self._min_completeness = min_completeness
        self._groups: list[_Group] | None = None
        self._open: list[_Group] = []

    def count(self, label: str, cells: Mapping[str, Any]) -> None:
        """Add a row, with its label and its parsed feature cells."""
        if self._groups is None:
            self._groups = [_Group(columns) for columns in modality_groups(FeatureSchema(tuple(cells)))]
            self._open = list(self._groups)
        if self._open:
            for group in self._open:
                self._count(group, label, cells)
            self._open = [group for group in self._open if group.is_open]

    def _count(self, group: _Group, label: str, cells: Mapping[str, Any]) -> None:
        filled = 0
        for column in group.columns:
            modality = modality_of(column)
            assert modality is not None
            filled += not is_missing(modality, cells[column])
        if filled:
            group.has_cells = True
            # As in `BranchModel.informed`.
            if filled / len(group.columns) >= self._min_completeness - 1e-9:
                group.rows += 1
                group.labels.add(label)

    def merge(self, later: InformedRows) -> None:
        """Add the rows that `later` has counted, which follow in the data. `later` is not changed."""
        if later._groups is None:
            return
        if self._groups is None:
            self._groups = [_Group(group.columns) for group in later._groups]
        for group, following in zip(self._groups, later._groups, strict=True):
            group.rows += following.rows
            group.has_cells = group.has_cells or following.has_cells
            group.labels |= following.labels
        self._open = [group for group in self._groups if group.is_open]

    def problems(self, rows: int) -> list[str]:
        """Return a sentence for each branch that cannot learn. `rows` is the number of all rows.

        Columns that are empty in every row are reported elsewhere.
        """
        return [
            too_few_to_distinguish(group.columns, group.rows, rows)
            for group in self._groups or []
            if group.has_cells and group.is_open
        ]


def too_few_to_distinguish(columns: Sequence[str], filled: int, rows: int) -> str:
    """Return the message about a branch that cannot learn, because all its rows have the same label."""
    return (
        f"The columns {', '.join(columns)} are filled in {filled} of {rows} rows, "
        "which is too few to distinguish labels. Fill or drop them."
    )
