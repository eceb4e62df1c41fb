"""How good answers are: the metrics that training chooses by and reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import (
    f1_score,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from multimodal_algo.core.task import Task

_TINY = 1e-9
_BINS = 15


@dataclass(frozen=True)
class Metric:
    """A metric of answers.

    Parameters
    ----------
    function
        Of the true class indices, int (rows,), and probabilities, float (rows, n); or of numbers, float (rows,), and
        predicted ones, float (rows,).
    greater_is_better
        Its direction.
    """

    function: Callable[[np.ndarray, np.ndarray], float]
    greater_is_better: bool

    def __call__(self, truth: np.ndarray, answers: np.ndarray) -> float:
        """The value for answers, float (rows, n)."""
        return float(self.function(truth, answers[:, 0] if answers.shape[1] == 1 else answers))


def accuracy(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Share of rows whose likeliest class is the true one."""
    return float((probabilities.argmax(axis=1) == truth).mean())


def log_loss(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log-probability of the true class (natural logarithm)."""
    chosen = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, _TINY)).mean())


def calibration_error(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error of the likeliest class, 15 bins (Guo et al., 2017)."""
    return float(sum(abs(sure - right) * share for sure, right, share in calibration_curve(truth, probabilities)))


def calibration_curve(truth: np.ndarray, probabilities: np.ndarray) -> list[tuple[float, float, float]]:
    """Per bin that has rows: mean probability of the likeliest class, share of right rows, share of all rows."""
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    inside = [bins == number for number in np.unique(bins)]
    return [(float(sure[rows].mean()), float(right[rows].mean()), float(rows.mean())) for rows in inside]


def _of_labels(function: Callable[..., float], **options: str) -> Callable[[np.ndarray, np.ndarray], float]:
    def judge(truth: np.ndarray, probabilities: np.ndarray) -> float:
        return float(function(truth, probabilities.argmax(axis=1), **options))

    return judge


def _balanced_accuracy(truth: np.ndarray, probabilities: np.ndarray) -> float:
    # As scikit-learn's, which warns of predicted classes that these rows do not have.
    predicted = probabilities.argmax(axis=1)
    return float(np.mean([(predicted[truth == label] == label).mean() for label in np.unique(truth)]))


def _roc_auc(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean of each class against the rest; classes that no row or every row has are left out."""
    if probabilities.shape[1] == 2:
        probabilities, labels = probabilities[:, 1:], [1]
    else:
        labels = list(np.unique(truth))
        probabilities = probabilities[:, labels]
    areas = [
        roc_auc_score(truth == label, probabilities[:, place])
        for place, label in enumerate(labels)
        if 0 < (truth == label).sum() < len(truth)
    ]
    return float(np.mean(areas)) if areas else float("nan")


CLASSIFICATION: Mapping[str, Metric] = {
    "accuracy": Metric(accuracy, True),
    "log_loss": Metric(log_loss, False),
    "f1_macro": Metric(_of_labels(f1_score, average="macro"), True),
    "balanced_accuracy": Metric(_balanced_accuracy, True),
    "roc_auc": Metric(_roc_auc, True),
    "calibration_error": Metric(calibration_error, False),
}
REGRESSION: Mapping[str, Metric] = {
    "rmse": Metric(root_mean_squared_error, False),
    "mae": Metric(mean_absolute_error, False),
    "r2": Metric(r2_score, True),
}


def metrics_of(task: Task) -> Mapping[str, Metric]:
    """The metrics that suit a task, by name."""
    return REGRESSION if task.is_regression else CLASSIFICATION


def scores_of(task: Task, truth: np.ndarray, answers: np.ndarray) -> dict[str, float]:
    """All metrics that suit a task, of answers, float (rows, n)."""
    return {name: metric(truth, answers) for name, metric in metrics_of(task).items()}


def default_metric(task: Task) -> str:
    """What training chooses by where ``eval_metric`` is not set: a proper score of the whole answer."""
    return "rmse" if task.is_regression else "log_loss"
