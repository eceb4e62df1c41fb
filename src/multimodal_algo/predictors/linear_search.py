"""The choice of a linear model's settings by its loss on held-out rows."""

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
    """The two settings of a linear model that held-out rows can choose.

    Parameters
    ----------
    strength
        Inverse of the L2 penalty. Large values let the model fit the training rows closely.
    plain
        Factor for numbers and categories, in proportion to texts and vectors.
    """

    strength: float
    plain: float


@dataclass(frozen=True)
class LinearSearch:
    """The values to choose a linear model's settings from, in the order in which they are tried.

    Parameters
    ----------
    strengths, plain_weights
        Values for the two fields of `LinearSetting`. With one value alone, nothing is compared.
    """

    strengths: Sequence[float] = STRENGTHS
    plain_weights: Sequence[float] = PLAIN_WEIGHTS

    @property
    def first(self) -> LinearSetting:
        """The setting that is tried first. It is used as it is if there are no held-out rows."""
        return LinearSetting(self.strengths[0], self.plain_weights[0])

    def run(
        self,
        fitted: Callable[[LinearSetting], Linear],
        loss: Callable[[LinearSetting, Linear], float],
        is_late: Callable[[], bool],
    ) -> tuple[LinearSetting, Linear]:
        """Return the setting with the least held-out loss among those that were tried, and its model.

        First the strength of the regularisation is lowered as long as the loss falls. Then `plain`, the factor by which
        columns other than texts are scaled, is lowered in the same way.

        Parameters
        ----------
        fitted
            Returns the model that is fitted with a setting.
        loss
            Returns the loss of a setting's model on held-out rows.
        is_late
            Whether the time is up, which ends the search.
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
