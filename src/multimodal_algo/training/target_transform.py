"""Chooses whether the models of a regression learn the labels or the logarithms of the labels.

Prices and other amounts are often skewed: most are small, and a few are huge. Logarithms of amounts are less skewed.
Effects that multiply an amount are sums of logarithms, which models learn more easily. Predictions are numbers in both
cases, see `TargetScale`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import numpy as np

from multimodal_algo.branches.base import BranchModel, TrainingRows
from multimodal_algo.branches.registry import is_fine_tuned
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.recipes import Branch
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.lbfgs import Limits
from multimodal_algo.core.linear_fit import LinearFit
from multimodal_algo.core.metrics import default_metric, metrics_of
from multimodal_algo.core.task import Task
from multimodal_algo.predictors.base import TargetScale, sample_rows
from multimodal_algo.predictors.linear_features import LinearFeatures

_LOG = logging.getLogger(__name__)

# From this skewness on, logarithms may help, if they are less skewed. An exponential distribution has skewness 2.
_SKEWED = 1.0
# Logarithms must reduce the loss by at least this share. A smaller gain may be chance.
_LEAST_GAIN = 0.02
# Limits of the comparison: rows, words, strength and iterations of the linear model, and seconds.
_MOST_ROWS, _MOST_WORDS, _STRENGTH, _ITERATIONS, _SECONDS = 3_000, 2_000, 1.0, 50, 20.0


def learns_logarithm(
    rows: TrainingRows, models: Sequence[tuple[Branch, BranchModel]], hyperparameters: HyperParameters
) -> bool:
    """Return whether models learn the logarithms of the labels, according to the hyperparameter ``target_transform``.

    With ``auto``, a linear model is fitted to a part of the rows, once to the labels and once to their logarithms. The
    better one is chosen on the other rows, with the metric of the job. If labels are not skewed, nothing is fitted.

    Parameters
    ----------
    rows
        The training rows.
    models
        The branches with their models, which are not fitted yet. The comparison uses the inputs of the branch with the
        most columns.
    hyperparameters
        Hyperparameters of the job.

    Raises
    ------
    UserError
        The hyperparameter asks for logarithms, but the labels are classes, or a label is not above 0.
    """
    wanted, numbers = hyperparameters.target_transform, rows.targets
    is_regression = numbers.dtype.kind == "f"
    if wanted == "log" and not is_regression:
        raise UserError("target_transform is log, but the labels are classes, which have no logarithm. Leave it out.")
    if wanted == "log" and numbers.min() <= 0:
        raise UserError(
            f"target_transform is log, but the label {numbers.min():.6g} has no logarithm: labels must be above 0. "
            "Leave it out."
        )
    if wanted != "auto" or not is_regression:
        return wanted == "log"
    if not _may_gain(numbers):
        return False
    name = default_metric(Task.regression()) if hyperparameters.eval_metric == "auto" else hyperparameters.eval_metric
    metric = metrics_of(Task.regression()).get(name)
    compared = [model for branch, model in models if not is_fine_tuned(branch)]
    if metric is None or not compared:
        return False
    model = max(compared, key=lambda each: len(each.columns))
    plain, log = (metric(*_held_out(rows, model, logarithm=logarithm)) for logarithm in (False, True))
    losses = [1 - value if metric.greater_is_better else value for value in (log, plain)]
    gains = losses[0] < (1 - _LEAST_GAIN) * losses[1]
    _LOG.info(
        "target: positive, skewed numbers. Models learn %s (%s of a linear model on held-out rows: %.4g with "
        "logarithms, %.4g without)",
        "their logarithms" if gains else "the numbers", name, log, plain,
    )  # fmt: skip
    return gains


def _may_gain(numbers: np.ndarray) -> bool:
    if numbers.min() <= 0:
        return False
    return _skewness(numbers) > max(_SKEWED, abs(_skewness(np.log(numbers))))


def _skewness(numbers: np.ndarray) -> float:
    standardised = TargetScale.of(numbers, Task.regression()).standardised(numbers)
    return float((standardised**3).mean())


def _held_out(rows: TrainingRows, model: BranchModel, *, logarithm: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of held-out rows, float64 (rows,), and a linear model's predictions, float64 (rows, 1)."""
    fitted_rows = np.flatnonzero(rows.folds >= 0)  # rows with a doubtful label may have no fold
    chosen = fitted_rows[sample_rows(len(fitted_rows), _MOST_ROWS, seed=0)]
    asked = rows.folds[chosen] == rows.folds[fitted_rows].min()
    known, held_out = chosen[~asked], chosen[asked]
    features = LinearFeatures(_MOST_WORDS)
    blocks = features.fit_transform(model.inputs(rows.features.take(known)))
    scale = TargetScale.of(rows.targets[known], Task.regression(), logarithm=logarithm)
    targets = scale.standardised(rows.targets[known]).astype(np.float32)
    limits = Limits(_ITERATIONS, time.monotonic() + _SECONDS)
    fitted = LinearFit(blocks, targets, None).fit(_STRENGTH, limits)
    scores = fitted.scores(features.transform(model.inputs(rows.features.take(held_out))))
    return rows.targets[held_out], scale.restored(scores)
