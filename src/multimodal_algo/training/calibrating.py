"""Calibrates prediction sets and prediction intervals on the held-out rows of a job."""

from __future__ import annotations

import logging

import numpy as np

from multimodal_algo.core.task import Task
from multimodal_algo.fusion.conformal.intervals import PredictionIntervals
from multimodal_algo.fusion.conformal.rows import CalibrationRows, weights_of
from multimodal_algo.fusion.conformal.sets import PredictionSets
from multimodal_algo.fusion.conformal.stored import Calibrated
from multimodal_algo.report.metrics import HeldOutResults
from multimodal_algo.training.data import TrainingData

_LOG = logging.getLogger(__name__)

# The rows of a validation channel have no folds. They are dealt to this number of folds.
_FOLDS = 5
# If fewer rows of the validation channel differ from all training rows, its other rows count too.
_LEAST_NEW_ROWS = 20


def calibrate(
    results: HeldOutResults, data: TrainingData, task: Task, prior: np.ndarray, coverage: float
) -> Calibrated:
    """Fit prediction sets or intervals to the held-out rows, and log the typical size of a set or an interval.

    Parameters
    ----------
    results
        Held-out rows with their predictions. They come from the final fusion, or from fits of it without the rows.
    data
        The rows of the job, with their folds and groups.
    task
        The kind of problem.
    prior
        The prediction for a row without any vote, (n,).
    coverage
        Share of new rows whose true label is to be in the set or the interval. The size in the log is for this share.
    """
    rows = calibration_rows(results, data)
    if task.is_regression:
        intervals = PredictionIntervals.fit(rows, float(prior[0]))
        bounds = intervals.intervals(rows.predictions, rows.votes, coverage)
        _LOG.info(
            "intervals: at coverage %g, half of them are narrower than %.4g (%d held-out rows)",
            coverage, float(np.median(bounds[:, 1] - bounds[:, 0])), len(bounds),
        )  # fmt: skip
        return intervals
    sets = PredictionSets.fit(rows, coverage)
    sizes = sets.members(rows.predictions, coverage).sum(axis=1)
    _LOG.info(
        "sets: at coverage %g, they have %.2f of %d classes on average, and %.0f %% have one class (%d held-out rows)",
        coverage, sizes.mean(), rows.predictions.shape[1], 100 * (sizes == 1).mean(), len(sizes),
    )  # fmt: skip
    return sets


def calibration_rows(results: HeldOutResults, data: TrainingData) -> CalibrationRows:
    """Return the held-out rows for the calibration. Duplicate rows share the weight of one row.

    Rows of the validation channel that equal a training row are left out, because models were fitted to their content.
    """
    keys = results.dataset.keys[results.rows, 0]
    if data.validation is None:
        groups, folds = data.groups.groups, data.folds
    else:
        groups = np.unique(keys, return_inverse=True)[1]
        folds = groups % _FOLDS
    rows = CalibrationRows(results.predictions, results.votes, results.targets, weights_of(keys), groups, folds)
    if data.validation is None:
        return rows
    is_new = ~np.isin(keys, data.dataset.keys[:, 0])
    return rows.take(is_new) if is_new.sum() >= _LEAST_NEW_ROWS else rows
