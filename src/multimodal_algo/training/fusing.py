"""The fusion of a job: chosen on held-out votes, or taken from the checkpoints of a previous start."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.label_checks import metric_problem
from multimodal_algo.core.labels import Target
from multimodal_algo.core.metrics import default_metric
from multimodal_algo.fusion.fit import FusionSettings, fit_fusion
from multimodal_algo.fusion.folds import HeldOut, OutOfFold
from multimodal_algo.fusion.fusion import Fusion
from multimodal_algo.fusion.selection import Selector
from multimodal_algo.report.metrics import HeldOutResults
from multimodal_algo.training.class_weights import class_weights
from multimodal_algo.training.context import JobContext
from multimodal_algo.training.data import TrainingData
from multimodal_algo.training.fitting import FittedBranches
from multimodal_algo.training.start import Start

_LOG = logging.getLogger(__name__)

_PART = "fusion"
_PREDICTIONS = "predictions.npy"
_FUSION = "fusion.safetensors"


def selector_of(target: Target, hyperparameters: HyperParameters) -> Selector:
    """Return the object that compares predictions with the metric and the class weights of the hyperparameters.

    Raises
    ------
    UserError
        The metric is not for labels of this kind, or the class weights name a label that no row has.
    """
    metric: str = hyperparameters.eval_metric
    if problem := metric_problem(metric, target.task):
        raise UserError(problem)
    if metric == "auto":
        metric = default_metric(target.task)
    return Selector(target.task, metric, class_weights(hyperparameters.class_weights_by_label(), target))


@dataclass(frozen=True)
class Fused:
    """A fitted fusion with the held-out rows on which it was chosen.

    Parameters
    ----------
    fusion
        The fitted fusion.
    predictions
        The fusion's predictions for the held-out rows, (rows, n).
    held_out
        The rows of the validation channel. None if there is no such channel: then each fold of the training rows is
        held out in turn.
    """

    fusion: Fusion
    predictions: np.ndarray
    held_out: HeldOut | None

    def results(self, data: TrainingData, fitted: FittedBranches) -> HeldOutResults:
        """Return the held-out rows with the fusion's predictions."""
        validation = data.validation
        if validation is None or self.held_out is None:
            rows = np.arange(len(data.dataset))
            return HeldOutResults(
                "training rows, out of fold", self.predictions, fitted.votes, data.target.values, data.dataset, rows
            )
        return HeldOutResults(
            "validation channel",
            self.predictions,
            self.held_out.votes,
            validation.targets,
            validation.dataset,
            validation.rows,
        )


def held_out_votes(data: TrainingData, fitted: FittedBranches, start: Start, min_completeness: float) -> HeldOut | None:
    """Return the branches' votes on the rows of the validation channel. Return None if there is no such channel."""
    validation = data.validation
    if validation is None:
        return None
    votes = fitted.predict(validation.dataset.features.take(validation.rows), min_completeness)
    votes = start.without_known_rows(votes, fitted.branches, validation.dataset.keys[validation.rows])
    return HeldOut(votes, validation.targets)


def fuse(
    fitted: FittedBranches,
    data: TrainingData,
    start: Start,
    selector: Selector,
    soft_labels: np.ndarray | None,
    budget: Budget,
    context: JobContext,
) -> Fused:
    """Choose and fit the fusion, or take it from the checkpoints of a previous start.

    Parameters
    ----------
    fitted
        The branches with their out-of-fold votes.
    data
        The rows of the job.
    start
        The start of the job. It knows the rows that a previous model was trained on.
    selector
        Compares predictions with the job's metric.
    soft_labels
        Class probabilities to learn from a teacher, float32 (rows, n), or None.
    budget
        The time that is left for fitting.
    context
        Hyperparameters, checkpoints and other values of the job.
    """
    held_out = held_out_votes(data, fitted, start, context.hyperparameters.min_completeness)
    with context.times.stage("fusion"):
        part = context.checkpoints.find(_PART)
        if part is not None:
            _LOG.info("fusion: taken from the checkpoint of a previous start")
            return Fused(Fusion.load(part / _FUSION), np.load(part / _PREDICTIONS), held_out)
        fusion, predictions = _fit(fitted, data, selector, soft_labels, held_out, budget, context)

        def write(directory: Path) -> None:
            fusion.save(directory / _FUSION)
            np.save(directory / _PREDICTIONS, predictions)

        context.checkpoints.save(_PART, write)
        return Fused(fusion, predictions, held_out)


def _fit(
    fitted: FittedBranches,
    data: TrainingData,
    selector: Selector,
    soft_labels: np.ndarray | None,
    held_out: HeldOut | None,
    budget: Budget,
    context: JobContext,
) -> tuple[Fusion, np.ndarray]:
    hyperparameters = context.hyperparameters
    fusion, predictions, choice = fit_fusion(
        OutOfFold(fitted.votes, data.target.values, data.folds, soft_labels),
        fitted.branches,
        selector=selector,
        settings=FusionSettings(hyperparameters.n_epochs, context.network, hyperparameters.seed),
        budget=budget,
        held_out=held_out,
    )
    losses = ", ".join(f"{name} {loss:.4g}" for name, loss in choice.losses.items())
    temperature = "" if fusion.finish is None else f", temperature {fusion.finish.temperature:.2f}"
    _LOG.info("fusion: %s (%s: %s)%s", choice.chosen, selector.loss_name, losses, temperature)
    return fusion, predictions
