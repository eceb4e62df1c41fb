"""What a training job tells about its quality, all of it on held-out predictions."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_algo.core.labels import Target
from multimodal_algo.core.metrics import scores_of
from multimodal_algo.fusion.fusion import Fusion
from multimodal_algo.ingest.dataset import Dataset

_LOG = logging.getLogger(__name__)

Scores = Mapping[str, float]
"""Values by metric."""


@dataclass(frozen=True)
class HeldOutResults:
    """Rows that what is said of them was not fitted to.

    Parameters
    ----------
    measured_on
        Which rows these are, in words.
    answers
        Fused, float (rows, n).
    vectors
        Per branch, float (rows, branches, n + 1).
    targets
        Class indices, int (rows,), or numbers, float (rows,).
    dataset
        Where they are from.
    rows
        Their positions in `dataset`, int (rows,).
    """

    measured_on: str
    answers: np.ndarray
    vectors: np.ndarray
    targets: np.ndarray
    dataset: Dataset
    rows: np.ndarray

    def names(self) -> list[str]:
        """What to call each row."""
        names = self.dataset.names()
        return [names[row] for row in self.rows]


@dataclass(frozen=True)
class Metrics:
    """Scores over `rows` held-out rows; `fit_s` is what fitting took, in seconds.

    Parameters
    ----------
    measured_on
        Which rows these are, in words.
    problem_type, eval_metric
        What was predicted, and the metric that training chose by.
    fused
        Of what ships.
    modalities
        Of each branch alone. A row that it says nothing about is scored with the class frequencies, or the mean.
    without
        What is left of `fused` where all columns of a modality (an image column, for images) are empty.
    seconds
        Of each stage.
    earlier
        How the artifact of the model channel did beside the new one on the same rows, see `comparison`; None without.
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

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``metrics.json``, whose public key of the previous model is ``earlier``."""
        fields = asdict(self)
        return {"earlier" if name == "previous" else name: value for name, value in fields.items()}


def measure(
    judged: HeldOutResults,
    target: Target,
    fusion: Fusion,
    branches: Mapping[str, Sequence[str]],
    groups: Mapping[str, Sequence[str]],
    *,
    eval_metric: str,
    seconds: Mapping[str, float],
    fit_s: float,
) -> Metrics:
    """Score held-out answers.

    Parameters
    ----------
    judged
        The rows.
    target
        What is predicted.
    fusion
        What ships.
    branches
        Of each branch, in the order of its vector, the columns.
    groups
        Of each modality (image column, for images) the columns, for telling what it adds.
    eval_metric
        What training chose by.
    seconds
        Of each stage.
    fit_s
        Seconds that fitting took.
    """

    def score(answers: np.ndarray) -> dict[str, float]:
        return scores_of(target.task, judged.targets, answers)

    prior = fusion.prior
    alone = {
        name: score(judged.vectors[:, number, :-1] + judged.vectors[:, number, -1:] * prior)
        for number, name in enumerate(branches)
    }
    without = {}
    if len(groups) > 1:
        for name, columns in groups.items():
            vectors = judged.vectors.copy()
            silent = [number for number, needed in enumerate(branches.values()) if set(needed) & set(columns)]
            vectors[:, silent] = np.eye(vectors.shape[2])[-1]
            without[name] = score(fusion.predict(vectors))
    return Metrics(
        measured_on=judged.measured_on,
        rows=len(judged.targets),
        problem_type=target.task.problem_type,
        eval_metric=eval_metric,
        fused=score(judged.answers),
        modalities=alone,
        without=without,
        fit_s=fit_s,
        seconds=seconds,
    )


def log_metrics(metrics: Metrics) -> None:
    """One line per metric, in the form that the platform's metric expressions look for."""
    for name, value in metrics.fused.items():
        _LOG.info("validation:%s=%.4f;", name, value)
    for branch, scores in metrics.modalities.items():
        _LOG.info("%s", " ".join(f"validation:{branch}:{name}={value:.4f};" for name, value in scores.items()))


def write_metrics(metrics: Metrics, directory: Path) -> None:
    """Write ``metrics.json`` into the platform's output directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "metrics.json").write_text(json.dumps(metrics.as_dict(), indent=2) + "\n", encoding="utf-8")


def write_predictions(judged: HeldOutResults, target: Target, directory: Path) -> None:
    """Write ``predictions.csv``: what is said of each held-out row, the least likely labels first.

    A label that the model finds unlikely is where to look for mistakes in the data.

    Parameters
    ----------
    judged
        The rows.
    target
        What is predicted.
    directory
        The platform's output directory.
    """
    names = judged.names()
    with (directory / "predictions.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        if target.task.is_regression:
            table.writerow(["ID", "label", "predicted_label", "error"])
            errors = judged.answers[:, 0] - judged.targets
            for row in np.argsort(-np.abs(errors), kind="stable"):
                numbers = (judged.targets[row], judged.answers[row, 0], errors[row])
                table.writerow([names[row], *(f"{number:.7g}" for number in numbers)])
            return
        of_label = judged.answers[np.arange(len(names)), judged.targets]
        predicted = judged.answers.argmax(axis=1)
        table.writerow(["ID", "label", "predicted_label", "probability", "probability_of_label"])
        for row in np.argsort(of_label, kind="stable"):
            told = (judged.answers[row, predicted[row]], of_label[row])
            classes = (target.classes[judged.targets[row]], target.classes[predicted[row]])
            table.writerow([names[row], *classes, *(f"{probability:.6f}" for probability in told)])
