"""The choice of a linear model's settings by held-out rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from multimodal_algo.core.linear import Linear

# The noisier the labels, the smaller the best inverse of the penalty. For 4,577 sizes of packages it is 0.1, and with 3
# held-out rows are predicted no better than by the mean.
STRENGTHS = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
PLAIN_WEIGHTS = (1.0, 0.25, 0.06)


@dataclass(frozen=True)
class LinearSetting:
    """Settings of a linear model.

    Parameters
    ----------
    strength
        Inverse of the penalty.
    plain
        Factor of numbers and categories next to texts and vectors.
    """

    strength: float
    plain: float


@dataclass(frozen=True)
class LinearSearch:
    """Settings to choose from, each in the order in which they are tried.

    Parameters
    ----------
    strengths, plain_weights
        Values of the two fields of `LinearSetting`. A single value is not compared with anything.
    """

    strengths: Sequence[float] = STRENGTHS
    plain_weights: Sequence[float] = PLAIN_WEIGHTS

    @property
    def first(self) -> LinearSetting:
        """The setting that is taken without held-out rows."""
        return LinearSetting(self.strengths[0], self.plain_weights[0])

    def run(
        self,
        fitted: Callable[[LinearSetting], Linear],
        loss: Callable[[LinearSetting, Linear], float],
        is_late: Callable[[], bool],
    ) -> tuple[LinearSetting, Linear]:
        """Return the best setting that was tried, and its model.

        First the strength goes down while held-out rows gain, then the factor.

        Parameters
        ----------
        fitted
            Fits the model of a setting.
        loss
            Return the loss of held-out rows.
        is_late
            Whether the time is up.
        """
        best = self.first
        model = fitted(best)
        least = loss(best, model)
        for field, values in (("strength", self.strengths), ("plain", self.plain_weights)):
            for value in values[1:]:
                if is_late():
                    return best, model
                tried = replace(best, **{field: value})
                other = fitted(tried)
                reached = loss(tried, other)
                if reached >= least:
                    break
                best, model, least = tried, other, reached
        return best, model
