"""The hyperparameter ``label_noise``: leaves training rows with doubtful labels out of the fits.

A linear model finds these rows before any branch is fitted. This takes seconds. To find them with the branches
themselves would take twice the time of the job.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np

from multimodal_algo.branches.base import TrainingRows
from multimodal_algo.branches.registry import SPECS, new_models
from multimodal_algo.config.recipes import Branch, ModelSettings
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.confident_learning import doubt_classes, doubt_numbers
from multimodal_algo.core.labels import Target
from multimodal_algo.training.context import JobContext
from multimodal_algo.training.data import TrainingData
from multimodal_algo.training.fitting import BranchFit, Fitting

_LOG = logging.getLogger(__name__)

LEFT_OUT = -1
"""The fold of a row to which no model is fitted. The models that are fitted last give the votes for it."""

_PART = "label_noise"
# A linear model of the first of these branches for which the data has columns finds doubtful labels.
_LOOKS: dict[Branch, ModelSettings] = {
    branch: {"WIDE": {}} for branch in (Branch.JOINT, Branch.TABLE, Branch.TEXT, Branch.IMAGE, Branch.CAT, Branch.NUM)
}
# Each fit of this linear model may take this share of the time for fitting.
_SHARE = 0.1
# At most this share of the rows, and of the rows of each class, is left out.
_MOST, _MOST_OF_CLASS = 0.2, 0.4
# The held-out loss must be less by this number of standard errors. A smaller gain does not count.
_LEAST_GAIN = 2.0
_SHARES_OF_PRIOR = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3)
_TEMPERATURES = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0)


def folds_for_fits(data: TrainingData, context: JobContext) -> np.ndarray:
    """Return the folds of the training rows, int (rows,). They are `LEFT_OUT` for rows to which no model is fitted.

    Parameters
    ----------
    data
        The rows of the job.
    context
        The setting of the job, with the hyperparameter ``label_noise``. ``keep``: models are fitted to all rows.
        ``drop``: rows with a doubtful label are left out. ``auto``: these rows are left out if the linear model then
        predicts held-out rows better. The held-out rows include rows with a doubtful label.
    """
    treatment = context.hyperparameters.label_noise
    if treatment == "keep":
        return data.folds
    with context.times.stage("label noise"):
        part = context.checkpoints.find(_PART)
        if part is not None:
            return np.asarray(np.load(part / "folds.npy"))
        folds = _chosen(data, context, always=treatment == "drop")
        context.checkpoints.save(_PART, lambda directory: np.save(directory / "folds.npy", folds))
        return folds


def _chosen(data: TrainingData, context: JobContext, *, always: bool) -> np.ndarray:
    look = _Look.of(data, context)
    before = look.predictions(data.folds, "first")
    left_out = doubtful_rows(before, data.target)
    count = int(left_out.sum())
    if not count:
        _LOG.info("label noise: no label is doubtful enough, so that all rows are fitted")
        return data.folds
    folds = np.where(left_out, LEFT_OUT, data.folds)
    if always:
        _LOG.info("label noise: %d of %d rows have a doubtful label. No model is fitted to them", count, len(folds))
        return folds
    gains = losses(before, data.target) - losses(look.predictions(folds, "second"), data.target)
    error = float(gains.std() / np.sqrt(len(gains))) or 1.0
    is_better = float(gains.mean()) > _LEAST_GAIN * error
    _LOG.info(
        "label noise: without %d of %d rows with a doubtful label, a linear model gains %.4g of held-out loss "
        "(standard error %.2g). %s",
        count, len(folds), gains.mean(), error, "No model is fitted to them" if is_better else "All rows are fitted",
    )  # fmt: skip
    return folds if is_better else data.folds


@dataclass(frozen=True)
class _Look:
    """A linear model that is fitted to the rows of a job to find doubtful labels."""

    data: TrainingData
    context: JobContext
    branch: Branch

    @classmethod
    def of(cls, data: TrainingData, context: JobContext) -> _Look:
        schema, task = data.dataset.schema, data.target.task
        return cls(data, context, next(branch for branch in _LOOKS if new_models(schema, task, [branch])))

    def predictions(self, folds: np.ndarray, name: str) -> np.ndarray:
        """Fit the model with these folds and return held-out predictions, float (rows, n).

        A row without a vote gets the prior. `name` is the name of the fit, for its files.
        """
        context, target = self.context, self.data.target
        _, model = new_models(self.data.dataset.schema, target.task, [self.branch])[0]
        recipe = replace(context.recipe, models={self.branch: _LOOKS[self.branch]})
        # An executor makes directories of its own for the parts of a fit.
        scratch = context.scratch / "label_noise" / name
        scratch.mkdir(parents=True)
        fitting = replace(Fitting.of(context, recipe), scratch=scratch)
        rows = TrainingRows(self.data.dataset.features, target.values, folds)
        budget = Budget.starting_now(_SHARE * context.hyperparameters.budget_s)
        fit = BranchFit(0, SPECS[self.branch], model.renamed(f"label_noise_{name}"))
        votes = fitting.fit_branches([fit], rows, budget)[0]
        return votes[:, :-1] + votes[:, -1:] * _prior(target)


def doubtful_rows(predictions: np.ndarray, target: Target) -> np.ndarray:
    """Return whether the label of each row is doubtful enough to leave the row out, bool (rows,).

    At most a fifth of all rows and two fifths of the rows of a class are left out: those with the most doubtful labels.

    Parameters
    ----------
    predictions
        Held-out predictions, float (rows, n).
    target
        The labels.
    """
    if target.task.is_regression:
        doubts, groups = doubt_numbers(predictions[:, 0], target.values), np.zeros(len(predictions), dtype=np.int64)
    else:
        doubts, groups = doubt_classes(predictions, target.values), target.values
    left_out = np.zeros(len(predictions), dtype=bool)
    for group in np.unique(groups):
        rows = np.flatnonzero(doubts.doubtful & (groups == group))
        left_out[rows[np.argsort(doubts.scores[rows])][: int(_MOST_OF_CLASS * (groups == group).sum())]] = True
    rows = np.flatnonzero(left_out)
    left_out[rows[np.argsort(doubts.scores[rows])][int(_MOST * len(left_out)) :]] = False
    return left_out


def losses(predictions: np.ndarray, target: Target) -> np.ndarray:
    """Return the loss of each row, float (rows,), after a correction of the probabilities.

    The correction is the best temperature and the best share of the prior, which is mixed in. A model that was fitted
    without wrong labels is too sure for rows with wrong labels. Without the correction, its loss would be greater for
    this reason alone. For a regression, the loss is the absolute error.
    """
    if target.task.is_regression:
        return np.abs(predictions[:, 0] - target.values)
    rows, prior = np.arange(len(predictions)), _prior(target)
    best: np.ndarray | None = None
    for temperature in _TEMPERATURES:
        cooled = np.maximum(predictions, 1e-6).astype(np.float64) ** (1 / temperature)
        cooled /= cooled.sum(axis=1, keepdims=True)
        for share in _SHARES_OF_PRIOR:
            own = -np.log((1 - share) * cooled[rows, target.values] + share * prior[target.values])
            best = own if best is None or own.mean() < best.mean() else best
    assert best is not None
    return best


def _prior(target: Target) -> np.ndarray:
    if target.task.is_regression:
        return np.array([target.values.mean()])
    return np.bincount(target.values, minlength=target.task.outputs) / len(target.values)
