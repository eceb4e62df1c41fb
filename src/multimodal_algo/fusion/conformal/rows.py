"""The held-out rows that sets and intervals are calibrated on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multimodal_algo.fusion.votes import Votes

# Below this share of distinct rows, equal rows are no accident: new rows repeat them too, and each of them counts.
_LEAST_DISTINCT = 0.3


@dataclass(frozen=True)
class CalibrationRows:
    """Held-out rows with their predictions.

    Parameters
    ----------
    predictions
        Fused predictions by models that were not fitted to the rows, float (rows, n).
    votes
        Votes of the branches for the rows.
    targets
        Class indices, int (rows,), or numbers, float (rows,).
    weights
        Weight of each row, float64 (rows,). Duplicate rows share the weight of one row.
    groups
        Group of each row, int (rows,). Rows of one group are not independent of each other.
    folds
        Fold of each row, int (rows,). Rows of one group lie in one fold.
    """

    predictions: np.ndarray
    votes: Votes
    targets: np.ndarray
    weights: np.ndarray
    groups: np.ndarray
    folds: np.ndarray

    def take(self, rows: np.ndarray) -> CalibrationRows:
        """Return the rows at these positions, or of this mask, alone."""
        return CalibrationRows(
            self.predictions[rows],
            self.votes.take(rows),
            self.targets[rows],
            self.weights[rows],
            self.groups[rows],
            self.folds[rows],
        )


def weights_of(keys: np.ndarray) -> np.ndarray:
    """Return the weight of each row, float64 (rows,): 1 divided by the number of its duplicate rows and itself.

    All weights are 1 where most rows are equal to another one, as in a table of few categories.

    Parameters
    ----------
    keys
        Key of the content of each row, int (rows,). Duplicate rows have the same key.
    """
    values, row, counts = np.unique(keys, return_inverse=True, return_counts=True)
    if len(values) < _LEAST_DISTINCT * len(keys):
        return np.ones(len(keys))
    return np.asarray(1.0 / counts[row])
