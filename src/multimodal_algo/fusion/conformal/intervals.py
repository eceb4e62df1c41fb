"""Prediction intervals, whose two bounds contain the true number of a row with a chosen probability, and quantiles.

The error of each calibration row is divided by the difficulty of the row. These errors are ranked with their signs. The
lower and the upper bound have a threshold each, so intervals suit skewed errors (Linusson et al., 2014, "Signed-Error
Conformal Regression"). The quantiles are those of the split-conformal predictive distribution (Vovk et al., 2020,
"Computationally Efficient Versions of Conformal Predictive Distributions").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from multimodal_algo.fusion.conformal.difficulty import Difficulty
from multimodal_algo.fusion.conformal.ranked import RankedScores
from multimodal_algo.fusion.conformal.rows import CalibrationRows
from multimodal_algo.fusion.votes import Votes

# Greatest number of errors of each sign in an artifact.
_MOST_SCORES = 4_000
# The difficulty of rows without a vote is chosen so that intervals with this coverage have the right width.
_LEVEL = 0.9


@dataclass(frozen=True)
class PredictionIntervals:
    """Ranked errors of calibration rows, from which intervals and quantiles of new rows are computed.

    Parameters
    ----------
    difficulty
        Predicts the difficulty of a row with a vote.
    prior_difficulty
        The difficulty of a row without any vote, whose prediction is the prior.
    above, below
        Ranked errors in units of the difficulty. For `above`, an error is the true number minus the prediction. For
        `below`, it has the opposite sign.
    least
        The least possible number: 0 or minus infinity.
    """

    difficulty: Difficulty
    prior_difficulty: float
    above: RankedScores
    below: RankedScores
    least: float

    @classmethod
    def fit(cls, rows: CalibrationRows, prior: float) -> PredictionIntervals:
        """Rank the errors of the rows. If no label is below 0, bounds are not below 0 either.

        Parameters
        ----------
        rows
            The held-out rows to calibrate on.
        prior
            The prediction for a row without any vote.
        """
        difficulty, held_out = Difficulty.fit(rows)
        errors = (rows.targets - rows.predictions[:, 0]) / held_out
        above, below = (RankedScores.of(signed, rows.weights, rows.groups) for signed in (errors, -errors))
        sizes, far = (
            RankedScores.of(np.abs(each), rows.weights, rows.groups).threshold(_LEVEL)
            for each in (errors, rows.targets - prior)
        )
        comparable = far / sizes if np.isfinite(far) and sizes > 0 else difficulty.scale
        least = 0.0 if rows.targets.min() >= 0 else -np.inf
        return cls(difficulty, comparable, above.thinned(_MOST_SCORES), below.thinned(_MOST_SCORES), least)

    def intervals(self, predictions: np.ndarray, votes: Votes, coverage: float) -> np.ndarray:
        """Return the lower and upper bound of each row, float64 (rows, 2). Infinite with too few calibration rows.

        Parameters
        ----------
        predictions
            Fused predictions, float64 (rows, 1).
        votes
            Votes for the rows.
        coverage
            Share of new rows whose true number is to be between the bounds, above 0 and below 1.
        """
        tail = (1 - coverage) / 2
        return self.quantiles(predictions, votes, (tail, 1 - tail))

    def quantiles(self, predictions: np.ndarray, votes: Votes, levels: tuple[float, ...]) -> np.ndarray:
        """Return the quantiles of each row, float64 (rows, levels).

        The true number of a row is below a quantile with the probability that its level names.
        """
        numbers = predictions[:, 0]
        difficulty = np.where(votes.speaking.any(axis=1), self.difficulty.of(numbers, votes), self.prior_difficulty)
        thresholds = [self._threshold(level) for level in levels]
        return np.maximum(numbers[:, None] + difficulty[:, None] * np.array(thresholds), self.least)

    def _threshold(self, level: float) -> float:
        """Return the error at a level, in units of the difficulty. It is rounded away from the median, to be safe."""
        return self.above.threshold(level) if level >= 0.5 else -self.below.threshold(1 - level)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the parameters as arrays by name, which `from_arrays` reads."""
        ranked = {"above": self.above, "below": self.below}
        return {
            **self.difficulty.arrays(),
            "prior_difficulty": np.array(self.prior_difficulty),
            "least": np.array(self.least),
            "groups": np.array(self.above.groups),
            **{f"{name}_values": scores.values.astype(np.float32) for name, scores in ranked.items()},
            **{f"{name}_weights": scores.weights for name, scores in ranked.items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> PredictionIntervals:
        """Return the intervals from the arrays that `arrays` returned."""
        above, below = (
            RankedScores(
                arrays[f"{name}_values"].astype(np.float64),
                arrays[f"{name}_weights"],
                int(arrays["groups"]),
            )
            for name in ("above", "below")
        )
        difficulty = Difficulty.from_arrays(arrays)
        return cls(difficulty, float(arrays["prior_difficulty"]), above, below, float(arrays["least"]))
