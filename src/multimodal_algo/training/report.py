"""What a training job tells about its quality, all of it on held-out predictions."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score:
    """Accuracy, and mean negative log-probability of the true class (natural logarithm)."""

    accuracy: float
    log_loss: float


@dataclass(frozen=True)
class Metrics:
    """Scores over `rows` held-out rows; `fit_s` is what fitting took, in seconds."""

    measured_on: str
    rows: int
    fit_s: float
    fused: Score
    modalities: dict[str, Score]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure(
    probabilities: np.ndarray,
    vectors: np.ndarray,
    labels: np.ndarray,
    names: list[str],
    *,
    measured_on: str,
    fit_s: float,
) -> Metrics:
    """Score held-out predictions.

    Parameters
    ----------
    probabilities
        Fused, float (rows, n).
    vectors
        Per modality, float (rows, modalities, n + 1). A row that a modality says nothing about is scored with the
        class frequencies.
    labels
        Class indices, int (rows,).
    names
        Names of the modalities.
    measured_on
        Which rows these are, in words.
    fit_s
        Seconds that fitting took.
    """
    n_classes = probabilities.shape[1]
    frequencies = np.bincount(labels, minlength=n_classes) / len(labels)
    alone = {
        name: _score(vectors[:, number, :-1] + vectors[:, number, -1:] * frequencies, labels)
        for number, name in enumerate(names)
    }
    return Metrics(measured_on, len(labels), fit_s, _score(probabilities, labels), alone)


def log_metrics(metrics: Metrics) -> None:
    """One line per metric, in the form that the platform's metric expressions look for."""
    _LOG.info("validation:accuracy=%.4f;", metrics.fused.accuracy)
    _LOG.info("validation:log_loss=%.4f;", metrics.fused.log_loss)
    for name, score in metrics.modalities.items():
        _LOG.info(
            "validation:%s:accuracy=%.4f; validation:%s:log_loss=%.4f;", name, score.accuracy, name, score.log_loss
        )


def write_metrics(metrics: Metrics, directory: Path) -> None:
    """Write ``metrics.json`` into the platform's output directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "metrics.json").write_text(json.dumps(metrics.as_dict(), indent=2) + "\n", encoding="utf-8")


def write_predictions(
    probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str], classes: Sequence[str], directory: Path
) -> None:
    """Write ``predictions.csv``: what is said of each held-out row, the least likely labels first.

    A label that the model finds unlikely is where to look for mistakes in the data.

    Parameters
    ----------
    probabilities
        Fused, float (rows, n).
    labels
        Class indices, int (rows,).
    names
        ID or number of each row.
    classes
        Names of the n classes.
    directory
        The platform's output directory.
    """
    of_label = probabilities[np.arange(len(labels)), labels]
    predicted = probabilities.argmax(axis=1)
    with (directory / "predictions.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["ID", "label", "predicted_label", "probability", "probability_of_label"])
        for row in np.argsort(of_label, kind="stable"):
            table.writerow(
                [
                    names[row],
                    classes[labels[row]],
                    classes[predicted[row]],
                    f"{probabilities[row, predicted[row]]:.6f}",
                    f"{of_label[row]:.6f}",
                ]
            )


def _score(probabilities: np.ndarray, labels: np.ndarray) -> Score:
    chosen = probabilities[np.arange(len(labels)), labels]
    return Score(
        accuracy=float((probabilities.argmax(axis=1) == labels).mean()),
        log_loss=float(-np.log(np.maximum(chosen, 1e-9)).mean()),
    )
