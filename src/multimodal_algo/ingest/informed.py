"""Rows that the branch of one modality can learn from: whether they have two labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multimodal_algo.core.schema import FeatureSchema, modality_of
from multimodal_algo.ingest.cells import is_missing
from multimodal_algo.ingest.statistics import modality_groups


@dataclass
class _Group:
    """Columns of one branch. `labels` has the first two labels of its rows, and `rows` counts them until then."""

    columns: tuple[str, ...]
    rows: int = 0
    has_cells: bool = False
    labels: set[str] = field(default_factory=set)

    @property
    def is_open(self) -> bool:
        return len(self.labels) < 2


class InformedRows:
    """Rows with enough filled cells for the branch of each modality. They can be pickled.

    Once a branch has rows with two labels, its rows are not looked at any more.

    Parameters
    ----------
    min_completeness
        The hyperparameter: least share of a modality's cells that must be filled.
    """

    def __init__(self, min_completeness: float) -> None:
        self._min_completeness = min_completeness
        self._groups: list[_Group] | None = None
        self._open: list[_Group] = []

    def count(self, label: str, cells: Mapping[str, Any]) -> None:
        """Count a row with its label and its parsed feature cells."""
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
        """Add the rows that follow. `later` is not changed."""
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
        """Return the branches that cannot learn, as sentences. `rows` is the number of all rows.

        Columns that are empty in every row are not among them.
        """
        return [
            too_few_to_distinguish(group.columns, group.rows, rows)
            for group in self._groups or []
            if group.has_cells and group.is_open
        ]


def too_few_to_distinguish(columns: Sequence[str], filled: int, rows: int) -> str:
    """Return the message about a branch whose rows have fewer than two labels."""
    return (
        f"The columns {', '.join(columns)} are filled in {filled} of {rows} rows, "
        "which is too few to distinguish labels. Fill or drop them."
    )
