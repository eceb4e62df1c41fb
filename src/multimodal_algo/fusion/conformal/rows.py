"""The held-out rows on which prediction sets and intervals are calibrated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multimodal_algo.fusion.votes import Votes

# With a smaller share of distinct rows, equal rows are not an accident. New rows repeat them too, so each one counts.
_LEAST_DISTINCT = 0.3


@dataclass(frozen=True)
class CalibrationRows:
    """Held-out rows with their predictions, true labels and weights.

    Parameters
    ----------
    predictions
        Fused predictions by models that were not fitted to the rows, float (rows, n).
    votes
        Votes of the branches for the rows.
    targets
        True labels: class indices, int (rows,), or numbers, float (rows,).
    weights
        Weight of each row, float64 (rows,). Duplicate rows together have the weight of one row.
    groups
        Group of each row, int (rows,). Rows of one group depend on each other.
    folds
        Fold of each row, int (rows,). Rows of one group are in the same fold.
    """

    predictions: np.ndarray
    votes: Votes
    targets: np.ndarray
    weights: np.ndarray
    groups: np.ndarray
    folds: np.ndarray

    def take(self, rows: np.ndarray) -> CalibrationRows:
        """Return only the rows with these indices, int, or those that the mask `rows`, bool (rows,), selects."""
        return CalibrationRows(
            self.predictions[rows],
            self.votes.take(rows),
            self.targets[rows],
            self.weights[rows],
            self.groups[rows],
            self.folds[rows],
        )


def weights_of(keys: np.ndarray) -> np.ndarray:
    """Return the weight of each row, float64 (rows,): 1 divided by the number of rows with its content.

    If fewer than 30 % of the rows are distinct, for example in a table with few categories, all weights are 1.

    Parameters
    ----------
    keys
        Key of the content of each row, int (rows,). Duplicate rows have the same key.
    """
    values, row, counts = np.unique(keys, return_inverse=True, return_counts=True)
    if len(values) < _LEAST_DISTINCT * len(keys):
        return np.ones(len(keys))
    return np.asarray(1.0 / counts[row])
