"""L-BFGS, the optimiser that fits linear models.

The scores of a linear model are linear in the length of a step. So a line search tries several steps without a new
product with the columns. An iteration needs two such products in all.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

_CORRECTIONS = 12
_TOLERANCE = 1e-5
_LEAST_CURVATURE = 1e-10
# Wolfe's conditions: a step is good where the slope has fallen to this share, and the objective by this share.
_LESS_STEEP, _LESS_HIGH = 0.9, 1e-4
_TRIES = 25
# A step is lengthened by a factor between these. It stays off the ends of its bracket by this share.
_LEAST_STRETCH, _MOST_STRETCH, _MARGIN = 2.0, 10.0, 0.1

Loss = Callable[["torch.Tensor"], tuple[float, "torch.Tensor"]]
"""Returns the mean loss of scores, float32 (rows, outputs), and its derivatives by them."""


@dataclass(frozen=True)
class Limits:
    """When an optimisation ends, at the latest.

    Parameters
    ----------
    iterations
        Largest number of iterations.
    deadline_s
        Time of `time.monotonic` at which it ends, in seconds. The best weights until then are returned.
    """

    iterations: int = 200
    deadline_s: float | None = None

    @property
    def is_late(self) -> bool:
        """Whether the deadline of the optimisation has passed."""
        return self.deadline_s is not None and time.monotonic() > self.deadline_s


class Space(Protocol):
    """The vectors that L-BFGS optimises. A vector holds the weights of a model, with the bias as its last row.

    A vector is float32 (parts, length, outputs), where parts is 1 or 2. The inner product of two vectors multiplies the
    first part of the one with the last part of the other.
    """

    penalty: float
    """Half of this times the squared weights is added to the loss."""

    def scores(self, vector: torch.Tensor) -> torch.Tensor:
        """Return the scores of all rows, float32 (rows, outputs), for the model whose weights `vector` holds."""

    def gradient(self, errors: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the objective at `vector`.

        `errors` are the derivatives of the loss with respect to the scores.
        """


def minimised(
    space: Space, loss: Loss, start: torch.Tensor, offsets: torch.Tensor | None, limits: Limits
) -> torch.Tensor:
    """Return the vector (the weights and the bias) with the least sum of loss and penalty.

    Parameters
    ----------
    space
        The space of the vectors, which computes scores and gradients.
    loss
        Function that returns the loss of scores, and its derivatives with respect to them.
    start
        The vector to start from.
    offsets
        Numbers that are added to the scores of a vector, float32 (rows, outputs).
    limits
        When to stop, at the latest.
    """
    vector, scores = start, space.scores(start) if offsets is None else space.scores(start) + offsets
    value, errors = loss(scores)
    value += 0.5 * space.penalty * _inner(start[:, :-1], start[:, :-1])
    gradient, history = space.gradient(errors, start), deque[_Correction](maxlen=_CORRECTIONS)
    for _ in range(limits.iterations):
        direction = _direction(gradient, history)
        slope = _inner(gradient, direction)
        if not slope < 0:
            break
        line = _Line(space, loss, vector, scores, direction)
        point = _search(line, value, slope, 1.0 if history else (-slope) ** -0.5)
        if point is None:
            break
        step = direction.mul_(point.step)
        vector, scores = vector + step, point.scores
        gain, value = value - point.value, point.value
        if gain < _TOLERANCE or limits.is_late:
            break
        previous, gradient = gradient, space.gradient(point.errors, vector)
        _remember(history, step, gradient - previous)
    return vector


@dataclass(frozen=True)
class _Point:
    """A point of a line search: the objective, its slope, the scores, and the derivatives of the loss by them."""

    step: float
    value: float
    slope: float
    scores: torch.Tensor
    errors: torch.Tensor


class _Line:
    """The objective along a line, for a line search: a function of the step from `vector` in `direction`.

    `scores` are those at `vector`.
    """

    def __init__(
        self, space: Space, loss: Loss, vector: torch.Tensor, scores: torch.Tensor, direction: torch.Tensor
    ) -> None:
        self._loss, self._scores, self._penalty = loss, scores, space.penalty
        self._moved = space.scores(direction)
        # The bias has no penalty.
        weights, change = vector[:, :-1], direction[:, :-1]
        self._square, self._slope = _inner(weights, weights), _inner(weights, change)
        self._bend = _inner(change, change)

    def at(self, step: float) -> _Point:
        scores = self._scores + step * self._moved
        loss, errors = self._loss(scores)
        penalty = 0.5 * self._square + step * self._slope + 0.5 * step**2 * self._bend
        slope = _dot(errors, self._moved) + self._penalty * (self._slope + step * self._bend)
        return _Point(step, loss + self._penalty * penalty, slope, scores, errors)


def _search(line: _Line, value: float, slope: float, step: float) -> _Point | None:
    """Return a point on the line that satisfies Wolfe's conditions. None if rounding errors hide any further gain.

    The objective is convex, so its slope rises along the line. The search looks for the zero of the slope.
    """
    low, low_slope, high, high_slope = 0.0, slope, float("inf"), 0.0
    for _ in range(_TRIES):
        point = line.at(step)
        if point.value > value + _LESS_HIGH * step * slope or point.slope > -_LESS_STEEP * slope:
            high, high_slope = step, point.slope
        elif point.slope < _LESS_STEEP * slope:
            low, low_slope = step, point.slope
        else:
            return point
        step = _between(low, low_slope, high, high_slope) if high < float("inf") else _beyond(step, point.slope / slope)
    return None


def _between(low: float, low_slope: float, high: float, high_slope: float) -> float:
    rise = high_slope - low_slope
    share = -low_slope / rise if rise > 0 else 0.5
    return low + (high - low) * min(max(share, _MARGIN), 1 - _MARGIN)


def _beyond(step: float, left: float) -> float:
    """Return a longer step than the last one. `left` is the slope there, as a share of the slope at the start."""
    return step * min(max(1 / max(1 - left, 1e-6), _LEAST_STRETCH), _MOST_STRETCH)


@dataclass(frozen=True)
class _Correction:
    """An entry of L-BFGS's history: a step, the change of the gradient over this step, and their inner product."""

    step: torch.Tensor
    change: torch.Tensor
    curvature: float


def _remember(history: deque[_Correction], step: torch.Tensor, change: torch.Tensor) -> None:
    curvature = _inner(change, step)
    if curvature > _LEAST_CURVATURE:
        history.append(_Correction(step, change, curvature))


def _direction(gradient: torch.Tensor, history: deque[_Correction]) -> torch.Tensor:
    """Return the direction of the next step of L-BFGS, from the gradient and the history (Nocedal's two loops)."""
    direction, shares = -gradient, []
    for each in reversed(history):
        shares.append(_inner(each.step, direction) / each.curvature)
        direction.sub_(each.change, alpha=shares[-1])
    if history:
        direction.mul_(history[-1].curvature / _inner(history[-1].change, history[-1].change))
    for each, share in zip(history, reversed(shares), strict=True):
        direction.add_(each.step, alpha=share - _inner(each.change, direction) / each.curvature)
    return direction


def _inner(first: torch.Tensor, second: torch.Tensor) -> float:
    return _dot(first[0], second[-1])


def _dot(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(first.reshape(-1).dot(second.reshape(-1)))
