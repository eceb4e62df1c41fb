"""Held-out rows by threshold: how many rows reach it, and how many of them are right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# With more candidates, neighbours differ by less than the held-out rows can show.
_MOST_CANDIDATES = 1000
# As many candidates as these at the top are not thinned: a rare class is there.
_DENSE = 300


@dataclass(frozen=True)
class ThresholdCurve:
    """Candidates for a threshold, the greatest first, with the held-out rows that reach them.

    Parameters
    ----------
    thresholds
        The candidates, float64 (m,).
    reached
        Number of rows with at least this score, int64 (m,).
    right
        Number of rows among them that are right, int64 (m,).
    expected
        Number of right rows among them by their scores alone, float64 (m,).
    positives
        Number of rows that should reach a threshold.
    rows
        Number of all rows.
    """

    thresholds: np.ndarray
    reached: np.ndarray
    right: np.ndarray
    expected: np.ndarray
    positives: int
    rows: int

    @classmethod
    def of(
        cls, scores: np.ndarray, is_right: np.ndarray, positives: int, most: int = _MOST_CANDIDATES
    ) -> ThresholdCurve:
        """Count the rows that reach each candidate. A candidate lies halfway between two scores.

        Parameters
        ----------
        scores
            Scores from 0 to 1, float (rows,). Rows with a negative score reach no threshold.
        is_right
            Whether a row is right where it reaches the threshold, bool (rows,).
        positives
            Number of rows that should reach a threshold.
        most
            Most candidates.
        """
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] >= 0]
        descending = scores[order].astype(np.float64)
        ends = np.flatnonzero(np.diff(descending, append=-1.0))
        ends = ends[_thinned(len(ends), most)]
        following = np.append(descending, descending[-1:])[ends + 1]
        right, expected = np.cumsum(is_right[order]), np.cumsum(descending)
        return cls(
            (descending[ends] + following) / 2, ends + 1, right[ends], expected[ends], int(positives), len(scores)
        )

    def __len__(self) -> int:
        return len(self.thresholds)

    def at(self, threshold: float) -> tuple[int, int]:
        """Return the number of rows that reach a threshold, and of the right ones among them.

        A threshold between two candidates counts as the greater one.
        """
        candidates = int(np.searchsorted(-self.thresholds, -threshold, side="right"))
        if not candidates:
            return 0, 0
        return int(self.reached[candidates - 1]), int(self.right[candidates - 1])

    def thinned(self, most: int) -> ThresholdCurve:
        """Return the curve with at most `most` candidates."""
        rows = _thinned(len(self), most)
        thresholds, reached, right, expected = (
            values[rows] for values in (self.thresholds, self.reached, self.right, self.expected)
        )
        return ThresholdCurve(thresholds, reached, right, expected, self.positives, self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Return the curve for JSON."""
        return {
            "thresholds": self.thresholds.tolist(),
            "reached": self.reached.tolist(),
            "right": self.right.tolist(),
            "expected": self.expected.round(3).tolist(),
            "positives": self.positives,
            "rows": self.rows,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ThresholdCurve:
        """Return the curve that `as_dict` wrote."""
        names = ("thresholds", "reached", "right", "expected")
        thresholds, reached, right, expected = (np.asarray(values[name]) for name in names)
        return cls(thresholds, reached, right, expected, int(values["positives"]), int(values["rows"]))


def _thinned(count: int, most: int) -> np.ndarray:
    """Return the positions of at most `most` of `count` candidates: the first ones, and evenly spaced ones after."""
    if count <= most:
        return np.arange(count)
    dense = min(_DENSE, most // 2)
    return np.concatenate([np.arange(dense), np.linspace(dense, count - 1, most - dense).round().astype(int)])
