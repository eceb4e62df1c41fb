"""Counts of held-out rows at each candidate for a threshold: how many reach it, and how many of these are right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# With more candidates, neighbours differ by less than the held-out rows can show.
_MOST_CANDIDATES = 1000
# This number of the greatest candidates is not thinned, because the rows of a rare class are there.
_DENSE = 300


@dataclass(frozen=True)
class ThresholdCurve:
    """Candidates for a threshold, the greatest first, with counts of the held-out rows that reach each of them.

    Parameters
    ----------
    thresholds
        The candidates, float64 (m,).
    reached
        Number of rows that reach each candidate, int64 (m,).
    right
        Number of right rows among these, int64 (m,).
    expected
        Number of right rows to expect among these: the sum of their scores, float64 (m,).
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
            Whether the answer is right if the row reaches the threshold, bool (rows,).
        positives
            Number of rows that should reach a threshold.
        most
            Greatest number of candidates.
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
        """Return the number of rows that reach a threshold, and the number of right rows among these.

        A threshold between two candidates counts as the greater candidate.
        """
        candidates = int(np.searchsorted(-self.thresholds, -threshold, side="right"))
        if not candidates:
            return 0, 0
        return int(self.reached[candidates - 1]), int(self.right[candidates - 1])

    def thinned(self, most: int) -> ThresholdCurve:
        """Return the curve with at most `most` of its candidates."""
        rows = _thinned(len(self), most)
        thresholds, reached, right, expected = (
            values[rows] for values in (self.thresholds, self.reached, self.right, self.expected)
        )
        return ThresholdCurve(thresholds, reached, right, expected, self.positives, self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Return the curve as a dict for JSON, which `from_dict` reads."""
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
        """Return the curve from a dict that `as_dict` made."""
        names = ("thresholds", "reached", "right", "expected")
        thresholds, reached, right, expected = (np.asarray(values[name]) for name in names)
        return cls(thresholds, reached, right, expected, int(values["positives"]), int(values["rows"]))


def _thinned(count: int, most: int) -> np.ndarray:
    """Return at most `most` indices of `count` candidates: the first ones, and then evenly spaced ones."""
    if count <= most:
        return np.arange(count)
    dense = min(_DENSE, most // 2)
    return np.concatenate([np.arange(dense), np.linspace(dense, count - 1, most - dense).round().astype(int)])
