"""The difficulty of a row: the absolute error to expect of its predicted number.

Each error is divided by the difficulty of its row, so errors are comparable between rows. Uncertain predictions get
wide intervals (Papadopoulos et al., 2011, "Regression Conformal Prediction with Nearest Neighbours"; Lei et al., 2018,
"Distribution-Free Predictive Inference for Regression", section 5.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from multimodal_algo.fusion.conformal.rows import CalibrationRows
from multimodal_algo.fusion.votes import Votes

# The slope of the difficulty over the predicted number may change at these quantiles of the predicted numbers.
_KNOTS = (0.2, 0.4, 0.6, 0.8)
# The penalty that pulls each coefficient towards 0. It weighs as much as this number of rows.
_PULL = 2.0
_MOST_STEPS, _MOST_HALVINGS, _TOLERANCE = 50, 20, 1e-8
# A smaller spread of the votes counts as this one, a share of the mean error. Its logarithm stays finite.
_LEAST_SPREAD = 0.01
# With fewer rows, every row has the same difficulty.
_LEAST_ROWS = 50


@dataclass(frozen=True)
class Difficulty:
    """A linear model that predicts the logarithm of the absolute error of a row.

    Its inputs are the predicted number, the spread of the votes, and which branches have a vote. If these inputs do not
    predict errors better than a constant, every row has the same difficulty.

    Parameters
    ----------
    scale
        Mean absolute error of the calibration rows. The spread of the votes is measured in this unit.
    knots
        Mean and standard deviation of the predicted numbers, and then the standardised numbers at which the slope may
        change, float64 (2 + knots,). If `floor` is above 0, all of them are computed from logarithms.
    coefficients
        Coefficients of the linear model, float64 (1 + features,). If every row has the same difficulty, (1,).
    bounds
        Least and greatest logarithm of the difficulty of a calibration row, float64 (2,).
    floor
        The least label if all labels are above 0, otherwise 0. If it is above 0, the logarithm of the predicted number
        is an input in place of the number, because errors of amounts grow with the amount.
    """

    scale: float
    knots: np.ndarray
    coefficients: np.ndarray
    bounds: np.ndarray
    floor: float = 0.0

    @classmethod
    def fit(cls, rows: CalibrationRows) -> tuple[Difficulty, np.ndarray]:
        """Fit the difficulty to the errors of calibration rows.

        Returns
        -------
        difficulty
            The difficulty, fitted to all rows.
        held_out
            The difficulty of each row according to a model that is fitted without the row's fold, float64 (rows,).
        """
        numbers, errors = rows.predictions[:, 0], np.abs(rows.targets - rows.predictions[:, 0])
        scale = float(np.average(errors, weights=rows.weights)) or 1.0
        floor = max(0.0, float(rows.targets.min()))
        levels = _levels(numbers, floor)
        spans = np.array([levels.mean(), levels.std() or 1.0])
        knots = np.concatenate([spans, (np.quantile(levels, _KNOTS) - spans[0]) / spans[1]])
        even = cls(scale, knots, np.array([np.log(scale)]), np.full(2, np.log(scale)), floor)
        if len(np.unique(rows.groups)) < _LEAST_ROWS or len(np.unique(rows.folds)) < 2:
            return even, np.full(len(errors), scale)
        inputs = even._inputs(numbers, rows.votes)
        least = 1e-6 * scale
        shares = np.maximum(errors, least) / scale
        held_out, constant = np.empty(len(errors)), np.empty(len(errors))
        for fold in np.unique(rows.folds):
            inside = rows.folds == fold
            known = (inputs[~inside], shares[~inside], rows.weights[~inside])
            fitted = known[0] @ (coefficients := _fitted(*known))
            held_out[inside] = np.clip(inputs[inside] @ coefficients, fitted.min(), fitted.max())
            constant[inside] = np.log(np.average(known[1], weights=known[2]))
        if _loss(held_out, shares, rows.weights) >= _loss(constant, shares, rows.weights):
            return even, np.full(len(errors), scale)
        coefficients = _fitted(inputs, shares, rows.weights)
        fitted = inputs @ coefficients + np.log(scale)
        coefficients[0] += np.log(scale)
        bounds = np.array([fitted.min(), fitted.max()])
        return cls(scale, knots, coefficients, bounds, floor), scale * np.exp(held_out)

    def of(self, predictions: np.ndarray, votes: Votes) -> np.ndarray:
        """Return the difficulty of rows, float64 (rows,), in the unit of the label.

        Parameters
        ----------
        predictions
            Predicted numbers, float64 (rows,).
        votes
            Votes for the rows.
        """
        if len(self.coefficients) == 1:
            return np.full(len(predictions), np.exp(self.coefficients[0]))
        return np.asarray(np.exp(np.clip(self._inputs(predictions, votes) @ self.coefficients, *self.bounds)))

    def _inputs(self, predictions: np.ndarray, votes: Votes) -> np.ndarray:
        """Return the inputs of the linear model, float64 (rows, 1 + features)."""
        mean, deviation, *knots = self.knots
        number = np.clip((_levels(predictions, self.floor) - mean) / deviation, -4, 4)
        bent = np.maximum(0, number[:, None] - np.array(knots))
        spread = np.log(np.maximum(_spread(votes) / self.scale, _LEAST_SPREAD))
        return np.column_stack([np.ones(len(number)), number, bent, spread, ~votes.speaking])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the parameters as arrays by name, which `from_arrays` reads."""
        return {
            "scale": np.array(self.scale),
            "knots": self.knots,
            "coefficients": self.coefficients,
            "bounds": self.bounds,
            "floor": np.array(self.floor),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Difficulty:
        """Return the difficulty from the arrays that `arrays` returned."""
        scale, floor = float(arrays["scale"]), float(arrays["floor"])
        return cls(scale, arrays["knots"], arrays["coefficients"], arrays["bounds"], floor)


def _levels(numbers: np.ndarray, floor: float) -> np.ndarray:
    """Return the predicted numbers, float64 (rows,). If `floor` is above 0, return their logarithms."""
    return np.log(np.maximum(numbers, floor)) if floor > 0 else numbers


def _spread(votes: Votes) -> np.ndarray:
    """Return the standard deviation of the numbers that the branches vote for, float64 (rows,)."""
    speaking = votes.speaking
    counts = np.maximum(1, speaking.sum(axis=1))
    numbers = np.where(speaking, votes.array[:, :, 0], 0.0)
    means = numbers.sum(axis=1) / counts
    squares = np.where(speaking, (numbers - means[:, None]) ** 2, 0.0)
    return np.asarray(np.sqrt(squares.sum(axis=1) / counts))


def _loss(logarithms: np.ndarray, errors: np.ndarray, weights: np.ndarray) -> float:
    """Return the weighted mean loss of predicted `logarithms` of absolute errors, each float (rows,).

    The loss is the negative log-likelihood, up to a constant, if absolute errors have an exponential distribution.
    """
    return float(np.average(errors * np.exp(-logarithms) + logarithms, weights=weights))


def _fitted(inputs: np.ndarray, errors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the coefficients with the least loss, found with Newton's method. The loss is convex."""
    shares = weights / weights.sum()
    pull = np.full(inputs.shape[1], _PULL / weights.sum())
    pull[0] = 0.0
    point = np.zeros(inputs.shape[1])
    point[0] = np.log(shares @ errors)

    def loss_at(point: np.ndarray) -> float:
        return _loss(inputs @ point, errors, weights) + float(pull @ point**2) / 2

    loss = loss_at(point)
    for _ in range(_MOST_STEPS):
        ratios = shares * errors * np.exp(-inputs @ point)
        gradient = inputs.T @ (shares - ratios) + pull * point
        hessian = (inputs * ratios[:, None]).T @ inputs + np.diag(pull + 1e-12)
        step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        for size in 0.5 ** np.arange(_MOST_HALVINGS):
            lower = loss_at(point - size * step)
            if lower < loss:
                break
        else:
            return point
        point, gain, loss = point - size * step, loss - lower, lower
        if gain < _TOLERANCE:
            return point
    return point
