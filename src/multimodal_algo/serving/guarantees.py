"""The fields of an answer that are right for a chosen share of new rows: prediction sets, intervals and quantiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.config.inference import Field, InferenceOptions
from multimodal_algo.fusion.conformal.intervals import PredictionIntervals
from multimodal_algo.fusion.conformal.sets import PredictionSets

if TYPE_CHECKING:
    from multimodal_algo.fusion.conformal.stored import Calibrated
    from multimodal_algo.fusion.votes import Votes

FIELDS = frozenset({Field.PREDICTION_SET, Field.PREDICTION_INTERVAL, Field.QUANTILES})


@dataclass(frozen=True)
class Guarantees:
    """Computes the prediction sets, or the intervals and quantiles, that the options of a server ask for.

    Parameters
    ----------
    calibrated
        The prediction sets or the intervals of the artifact.
    options
        The options of the server: fields, coverage and levels of quantiles.
    classes
        Names of the classes. Empty for a regression.
    """

    calibrated: Calibrated
    options: InferenceOptions
    classes: Sequence[str]

    def of(self, predictions: np.ndarray, votes: Votes) -> list[Mapping[Field, Any]]:
        """Return the values of these fields for each row, by field.

        Parameters
        ----------
        predictions
            Fused predictions, float (rows, n).
        votes
            Votes for the rows.
        """
        calibrated, options = self.calibrated, self.options
        if isinstance(calibrated, PredictionSets):
            sets = sets_of(calibrated, predictions, options.coverage)
            return [{Field.PREDICTION_SET: [self.classes[label] for label in labels]} for labels in sets]
        assert isinstance(calibrated, PredictionIntervals)
        bounds = calibrated.intervals(predictions, votes, options.coverage)
        quantiles = calibrated.quantiles(predictions, votes, options.quantiles)
        return [
            {Field.PREDICTION_INTERVAL: _finite(ends), Field.QUANTILES: dict(zip(names, _finite(numbers), strict=True))}
            for names, ends, numbers in zip([options.quantile_names] * len(bounds), bounds, quantiles, strict=True)
        ]


def sets_of(sets: PredictionSets, predictions: np.ndarray, coverage: float) -> list[list[int]]:
    """Return the indices of the classes in the prediction set of each row, the likeliest class first."""
    members = sets.members(predictions, coverage)
    order = np.argsort(-predictions, axis=1, kind="stable")
    return [row[own[row]].tolist() for row, own in zip(order, members, strict=True)]


def _finite(numbers: np.ndarray) -> list[float | None]:
    """Return numbers for JSON, which has no infinity. An infinite number, which is an unknown bound, becomes None."""
    return [number if math.isfinite(number) else None for number in numbers.tolist()]
