"""The votes of the branches. A vote has n class probabilities, or one number, and an entry for "no vote"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from multimodal_algo.branches.base import BranchModel
    from multimodal_algo.ingest.features import Features

Rows = np.ndarray | slice
"""Rows by a mask, bool (rows,), by positions, int (n,), or by a slice."""


@dataclass(frozen=True)
class Votes:
    """The votes of all branches (partial models) on some rows.

    A vote is a prediction, or says that the branch has none.

    Parameters
    ----------
    array
        float32 (rows, branches, n + 1), or float64 (rows, branches, 2) for a regression. If a branch has no vote on a
        row, the last entry is 1 and all others are 0.
    """

    array: np.ndarray

    @classmethod
    def stack(cls, vectors: Sequence[np.ndarray]) -> Votes:
        """Return the votes of all branches from one array per branch, each (rows, n + 1)."""
        return cls(np.stack(vectors, axis=1))

    def __len__(self) -> int:
        return len(self.array)

    @property
    def branches(self) -> int:
        """Number of branches (partial models)."""
        return int(self.array.shape[1])

    @property
    def outputs(self) -> int:
        """Number of classes, n. It is 1 for a regression."""
        return int(self.array.shape[2]) - 1

    @cached_property
    def speaking(self) -> np.ndarray:
        """Whether each branch (partial model) has a vote on each row, bool (rows, branches)."""
        return np.asarray(self.array[:, :, -1] < 0.5)

    def silence(self, rows: Rows, branches: Sequence[int]) -> Votes:
        """Return a copy in which the branches with these numbers have no vote on `rows`."""
        no_vote = np.zeros(self.array.shape[2], dtype=self.array.dtype)
        no_vote[-1] = 1.0
        array = self.array.copy()
        for branch in branches:
            array[rows, branch] = no_vote
        return Votes(array)

    def alone(self, branch: int, prior: np.ndarray) -> np.ndarray:
        """Return the predictions of one branch (partial model), (rows, n).

        If it has no vote on a row, use `prior`, (n,).
        """
        return np.asarray(self.array[:, branch, :-1] + self.array[:, branch, -1:] * prior)

    def take(self, rows: Rows) -> Votes:
        """Return only the votes on `rows`."""
        return Votes(self.array[rows])

    def concat(self, other: Votes) -> Votes:
        """Return the votes of these branches, followed by the votes of `other` branches on the same rows."""
        return Votes(np.concatenate([self.array, other.array], axis=1))

    def spread_to(self, rows: np.ndarray, total: int) -> Votes:
        """Return votes on `total` rows: these votes at the positions `rows`, and no votes on all other rows."""
        array = np.zeros((total, *self.array.shape[1:]), dtype=self.array.dtype)
        array[:, :, -1] = 1.0
        array[rows] = self.array
        return Votes(array)

    def probabilities(self, rows: Rows, branches: Sequence[int]) -> np.ndarray:
        """Return the votes of `branches` on `rows` without their last entry, (rows, branches, n)."""
        if isinstance(rows, np.ndarray) and rows.dtype != bool:
            return np.asarray(self.array[rows[:, None], list(branches)][:, :, :-1])
        return np.asarray(self.array[rows][:, list(branches), :-1])


def votes_of(models: Iterable[BranchModel], features: Features, *, min_completeness: float) -> Votes:
    """Return the votes of all branch models on the rows of `features`, in the order of `models`."""
    return Votes.stack([model.predict(features, min_completeness=min_completeness) for model in models])
