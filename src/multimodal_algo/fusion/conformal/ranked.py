"""Scores of calibration rows in ascending order, and the thresholds that follow from them.

A split-conformal threshold is the score of rank ``(n + 1) * level`` among the n scores of calibration rows (Vovk et
al., 2005, "Algorithmic Learning in a Random World"; Lei et al., 2018, "Distribution-Free Predictive Inference for
Regression"). The score of a new row is at most the threshold with a probability of at least `level`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Share of the stored scores that describe the lower half. Thresholds are rarely there.
_LOWER_SHARE = 0.2
_ROUNDING = 1e-9


@dataclass(frozen=True)
class RankedScores:
    """Scores of calibration rows in ascending order.

    Parameters
    ----------
    values
        Distinct scores, ascending, float64 (scores,). Each is exact as a float32.
    weights
        Number of rows with each score, float64 (scores,). Duplicate rows count as one row.
    groups
        Number of groups of rows. Rows of different groups are independent.
    """

    values: np.ndarray
    weights: np.ndarray
    groups: int

    @classmethod
    def of(cls, scores: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> RankedScores:
        """Rank the scores of rows.

        Parameters
        ----------
        scores, weights
            Score and weight of each row, float (rows,).
        groups
            Group of each row, int (rows,).
        """
        values, row = np.unique(_rounded_up(scores), return_inverse=True)
        count = min(len(np.unique(groups)), int(np.ceil(weights.sum() - _ROUNDING)))
        return cls(values, np.bincount(row, weights=weights, minlength=len(values)), count)

    @classmethod
    def pooled(cls, parts: Sequence[RankedScores]) -> RankedScores:
        """Join the scores of several parts in one ranking."""
        values, row = np.unique(np.concatenate([part.values for part in parts]), return_inverse=True)
        weights = np.concatenate([part.weights for part in parts])
        total = np.bincount(row, weights=weights, minlength=len(values))
        return cls(values, total, sum(part.groups for part in parts))

    def threshold(self, level: float) -> float:
        """Return the least score that new rows do not exceed with at least the probability `level`.

        The score is infinite if there are too few calibration rows for this level.
        """
        if not self.groups:
            return float("inf")
        reached = np.cumsum(self.weights)
        needed = level * float(reached[-1]) * (1 + 1 / self.groups)
        rank = int(np.searchsorted(reached, needed - _ROUNDING * needed))
        return float(self.values[rank]) if rank < len(self.values) else float("inf")

    def thinned(self, most: int) -> RankedScores:
        """Return a ranking with at most `most` scores. Thresholds stay the same or become larger.

        Each score that is kept replaces the scores between it and the previous one. Four fifths of the scores describe
        the upper half, because most thresholds are there.
        """
        if len(self.values) <= most:
            return self
        reached = np.cumsum(self.weights)
        lower = max(1, int(most * _LOWER_SHARE))
        shares = np.concatenate([np.linspace(0, 0.5, lower + 1)[1:], np.linspace(0.5, 1, most - lower + 1)[1:]])
        last = np.unique(np.minimum(np.searchsorted(reached, shares * reached[-1]), len(reached) - 1))
        return RankedScores(self.values[last], np.diff(reached[last], prepend=0.0), self.groups)


def _rounded_up(scores: np.ndarray) -> np.ndarray:
    """Round each score up to a number that is exact as a float32. Return float64 of the same shape."""
    rounded = np.asarray(scores, dtype=np.float32)
    up = np.where(rounded < scores, np.nextafter(rounded, np.float32(np.inf)), rounded)
    return up.astype(np.float64)
