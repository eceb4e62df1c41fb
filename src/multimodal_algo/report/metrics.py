"""The metrics of a training job, all of them measured on held-out rows."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_algo.core.class_scores import scores_by_class
from multimodal_algo.core.decision import DecisionRule
from multimodal_algo.core.labels import Target
from multimodal_algo.core.metrics import scores_of
from multimodal_algo.core.schema import FeatureSchema, Modality, modality_of
from multimodal_algo.fusion.decisions import ChosenRule
from multimodal_algo.fusion.fusion import Fusion
from multimodal_algo.fusion.votes import Votes
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.statistics import modality_groups

_LOG = logging.getLogger(__name__)

# With the scores of more classes, the description of the artifact would be large.
_MOST_CLASSES = 1000
_TABLE_METRICS = 6

Scores = Mapping[str, float]
"""Values by the name of the metric."""


@dataclass(frozen=True)
class HeldOutResults:
    """Held-out rows with predictions from models that were not fitted to these rows.

    Parameters
    ----------
    measured_on
        What the rows are, in words for the report.
    predictions
        Predictions of the fusion, float (rows, n).
    votes
        Votes of the branches on the rows.
    targets
        Class indices, int (rows,), or numbers, float (rows,).
    dataset
        The dataset that the rows are in.
    rows
        Positions of the rows in `dataset`, int (rows,).
    """

    measured_on: str
    predictions: np.ndarray
    votes: Votes
    targets: np.ndarray
    dataset: Dataset
    rows: np.ndarray

    def names(self) -> list[str]:
        """Return a name for each row: its ID, or its position if there are no IDs."""
        names = self.dataset.names()
        return [names[row] for row in self.rows]


@dataclass(frozen=True)
class Metrics:
    """The content of ``metrics.json``.

    Parameters
    ----------
    measured_on
        What the held-out rows are, in words for the report.
    rows
        Number of held-out rows.
    problem_type
        Kind of problem: binary, multiclass or regression.
    eval_metric
        Name of the metric with which training selected the model.
    fused
        Scores of the fusion, which is the model that answers later.
    modalities
        Scores of each branch alone. A row in which the branch has no vote gets the prior.
    without
        Scores of the fusion if all columns of one modality, or one image column, were empty.
    fit_s
        Seconds that fitting took.
    seconds
        Seconds of each stage.
    previous
        Comparison with the previous model, see `comparison`. None if the job has no previous model.
    classes
        Scores of the most frequent classes, each against the rest, by name of the class. Empty for a regression.
    decision
        The rule that decides answers, with its figures on the held-out rows. None for a regression.
    """

    measured_on: str
    rows: int
    problem_type: str
    eval_metric: str
    fused: Scores
    modalities: Mapping[str, Scores]
    without: Mapping[str, Scores]
    fit_s: float
    seconds: Mapping[str, float]
    previous: Mapping[str, Any] | None = None
    classes: Mapping[str, Scores] = field(default_factory=dict)
    decision: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``metrics.json``. There the field `previous` has the public name ``earlier``."""
        return {"earlier" if name == "previous" else name: value for name, value in asdict(self).items()}


def measure(
    results: HeldOutResults,
    target: Target,
    fusion: Fusion,
    branches: Mapping[str, Sequence[str]],
    *,
    eval_metric: str,
    seconds: Mapping[str, float],
    fit_s: float,
) -> Metrics:
    """Return the scores of held-out predictions: of the fusion, of each branch (partial model), without each modality.

    Parameters
    ----------
    results
        The held-out rows with their predictions.
    target
        Classes or numbers that the job learns.
    fusion
        The fusion of the artifact.
    branches
        The columns that each branch reads, in the order of the votes.
    eval_metric
        Name of the metric with which training selected the model.
    seconds
        Seconds of each stage.
    fit_s
        Seconds that fitting took.
    """

    def score(predictions: np.ndarray) -> dict[str, float]:
        return scores_of(target.task, results.targets, predictions)

    emptied = _without_each_modality(results, branches)
    return Metrics(
        measured_on=results.measured_on,
        rows=len(results.targets),
        problem_type=target.task.problem_type,
        eval_metric=eval_metric,
        fused=score(results.predictions),
        modalities={name: score(results.votes.alone(number, fusion.prior)) for number, name in enumerate(branches)},
        without={name: score(fusion.predict(votes)) for name, votes in emptied},
        fit_s=fit_s,
        seconds=seconds,
        classes={} if target.task.is_regression else _scores_by_class(results, target),
    )


def _scores_by_class(results: HeldOutResults, target: Target) -> dict[str, Scores]:
    """Return the scores of the most frequent classes, by name of the class."""
    scores = scores_by_class(results.targets, results.predictions)
    order = np.argsort(-np.bincount(results.targets, minlength=len(scores)), kind="stable")[:_MOST_CLASSES]
    return {target.classes[label]: scores[label] for label in order if scores[label]}


def _without_each_modality(
    results: HeldOutResults, branches: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, Votes]]:
    """Yield the name of each modality (or image column), with the votes that are left if its columns are empty."""
    groups = _column_groups(results.dataset.schema)
    if len(groups) < 2:
        return
    for name, columns in groups.items():
        concerned = [number for number, needed in enumerate(branches.values()) if set(needed) & set(columns)]
        yield name, results.votes.silence(slice(None), concerned)


def _column_groups(schema: FeatureSchema) -> dict[str, tuple[str, ...]]:
    """Return the columns of each modality by its name. Each image column is a group under its own name."""
    return {
        columns[0] if modality_of(columns[0]) is Modality.IMAGE else str(modality_of(columns[0])): columns
        for columns in modality_groups(schema)
    }


def log_metrics(metrics: Metrics) -> None:
    """Log a table of scores, and one line per metric that the metric definitions of SageMaker can read.

    The errors of a regression have the unit of the label. They may be tiny, so they are logged with six digits.
    """
    digits = ".6g" if metrics.problem_type == "regression" else ".4f"
    for name, value in metrics.fused.items():
        _LOG.info("validation:%s=%s;", name, format(value, digits))
    for line in _table(metrics, digits):
        _LOG.info("%s", line)


def _table(metrics: Metrics, digits: str) -> Iterator[str]:
    """Yield the lines of a table with the scores of each branch and of the fusion.

    The columns are the metric of the job and the first six others. With all metrics, a line would be too long for a
    terminal.
    """
    scores = {**metrics.modalities, "together": metrics.fused}
    shown = list(dict.fromkeys([metrics.eval_metric, *metrics.fused]))[: 1 + _TABLE_METRICS]
    rows = [
        ["held-out scores", *shown],
        *([name, *(format(values[metric], digits) for metric in shown)] for name, values in scores.items()),
    ]
    first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    for name, *values in rows:
        yield f"{name:{first}}  " + "  ".join(f"{value:>{n}}" for value, n in zip(values, widths, strict=True))


def write_metrics(metrics: Metrics, directory: Path) -> None:
    """Write ``metrics.json`` into the output `directory` of the job."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "metrics.json").write_text(json.dumps(metrics.as_dict(), indent=2) + "\n", encoding="utf-8")


def write_predictions(
    results: HeldOutResults, target: Target, directory: Path, decision: ChosenRule | None = None
) -> None:
    """Write ``predictions.csv``: the prediction of each held-out row. Rows whose label is least likely come first.

    A label that the model finds unlikely may be a mistake in the data.

    Parameters
    ----------
    results
        The held-out rows with their predictions.
    target
        Classes or numbers that the job learns.
    directory
        Output directory of the job.
    decision
        The rule that decides answers. By default, the answer is the likeliest class.
    """
    lines = _regression_lines(results) if target.task.is_regression else _class_lines(results, target, decision)
    with (directory / "predictions.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(lines)


def _regression_lines(results: HeldOutResults) -> Iterator[Sequence[str]]:
    yield ["ID", "label", "predicted_label", "error"]
    names = results.names()
    errors = results.predictions[:, 0] - results.targets
    for row in np.argsort(-np.abs(errors), kind="stable"):
        numbers = (results.targets[row], results.predictions[row, 0], errors[row])
        yield [names[row], *(repr(float(number)) for number in numbers)]


def _class_lines(results: HeldOutResults, target: Target, decision: ChosenRule | None) -> Iterator[Sequence[str]]:
    may_review = decision is not None and decision.rule.may_review(len(target.classes))
    yield ["ID", "label", "predicted_label", "probability", "probability_of_label", *(["best_guess"] * may_review)]
    names = results.names()
    label_probability = results.predictions[np.arange(len(names)), results.targets]
    decisions = (DecisionRule({}) if decision is None else decision.rule).apply(results.predictions)
    for row in np.argsort(label_probability, kind="stable"):
        guess = decisions.guesses[row]
        label, answer = target.classes[results.targets[row]], target.classes[guess]
        if decision is not None and decisions.is_reviewed[row]:
            answer = decision.settings.review_label
        probabilities = (results.predictions[row, guess], label_probability[row])
        line = [names[row], label, answer, *(f"{probability:.6f}" for probability in probabilities)]
        yield [*line, target.classes[guess]] if may_review else line
