"""Tests whether a linear model can distinguish new rows from training rows, from the bins of all columns together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multimodal_algo.core.metrics import area_under_roc
from multimodal_algo.monitoring.sketches import NO_BIN, Measure, Property

LEAST_ROWS = 20
"""Least number of new rows, and of training rows, for the test."""

_FOLDS, _DRAWS, _RIDGE, _MOST_ROWS = 5, 99, 1.0, 1_000
_SEED = 0


@dataclass(frozen=True)
class Adversary:
    """How well a linear model distinguishes new rows from training rows.

    Parameters
    ----------
    auc
        Area under the ROC curve on held-out rows: 0.5 if new rows look like training rows, 1 if they always differ.
    p_value
        Probability that the area is at least as large by chance. It is measured with shuffled rows.
    """

    auc: float
    p_value: float


def separate(measures: Sequence[Measure], sample: np.ndarray, bins: np.ndarray) -> Adversary | None:
    """Fit ridge regressions in five folds that distinguish new rows from training rows. None if rows are too few.

    Parameters
    ----------
    measures
        The measures, one for each column of the bins.
    sample
        Bins of training rows, uint8 (rows, measures), see `Sketches.sample`.
    bins
        Bins of new rows, uint8 (rows, measures), see `Meter.bins`.
    """
    if min(len(sample), len(bins)) < LEAST_ROWS:
        return None
    generator = np.random.default_rng(_SEED)
    bins = generator.permutation(bins)[:_MOST_ROWS]
    is_new = np.repeat([0.0, 1.0], [len(sample), len(bins)])
    inputs = _inputs(measures, np.concatenate([sample, bins]))
    observed = _auc(inputs, is_new, generator)
    draws = [_auc(inputs, generator.permutation(is_new), generator) for _ in range(_DRAWS)]
    return Adversary(observed, (1 + sum(draw >= observed for draw in draws)) / (1 + _DRAWS))


def _inputs(measures: Sequence[Measure], bins: np.ndarray) -> np.ndarray:
    """Return the inputs of the linear model for the bins of rows, float64 (rows, inputs)."""
    columns = [np.ones(len(bins))]
    for number, measure in enumerate(measures):
        # These bins of the training rows are not known.
        if measure.kind in (Property.LANGUAGE, Property.NEW):
            continue
        own = bins[:, number]
        if measure.is_ordered:
            place = np.where(own == NO_BIN, 0.0, own / max(1, len(measure.counts) - 1) - 0.5)
            columns += [place, np.abs(place)]
        else:
            columns += [(own == each).astype(np.float64) for each in range(min(len(measure.counts) - 1, 8))]
    return np.stack(columns, axis=1)


def _auc(inputs: np.ndarray, is_new: np.ndarray, generator: np.random.Generator) -> float:
    fold = np.empty(len(is_new), dtype=np.int64)
    for kind in (0.0, 1.0):
        rows = np.flatnonzero(is_new == kind)
        fold[rows] = generator.permutation(np.arange(len(rows)) % _FOLDS)
    areas = []
    for number in range(_FOLDS):
        fits = fold != number
        gram = inputs[fits].T @ inputs[fits] + _RIDGE * np.eye(inputs.shape[1])
        weights = np.linalg.solve(gram, inputs[fits].T @ (is_new[fits] - is_new[fits].mean()))
        scores = inputs[~fits] @ weights
        areas.append(area_under_roc(is_new[~fits] == 1, scores))
    return float(np.mean(areas))
