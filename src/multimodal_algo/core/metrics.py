"""The metrics by which training selects a model and which it reports, each declared once.

The metric definitions and objectives of ``CreateAlgorithm`` and the table in ``docs/training.md`` are made from
`METRICS`. A new metric is one entry there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from multimodal_algo.core.task import ProblemType, Task

_Score = Callable[[np.ndarray, np.ndarray], float]

_TINY = 1e-9
_BINS = 15
_NUMBER = r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?"
_CLASSES: tuple[ProblemType, ...] = ("binary", "multiclass")
_NUMBERS: tuple[ProblemType, ...] = ("regression",)


@dataclass(frozen=True)
class Metric:
    """A metric of predictions.

    Parameters
    ----------
    name
        Name of the metric in ``metrics.json`` and in the hyperparameter ``eval_metric``.
    meaning
        Explanation for users, without a final full stop.
    problem_types
        Problem types for which the metric is computed.
    greater_is_better
        Direction of the metric.
    function
        Function of the true class indices, int (rows,), and the probabilities, float (rows, n). For a regression, of
        the true numbers, float (rows,), and the predicted ones, float (rows,).
    is_objective
        Whether a tuning job may optimise the metric.
    """

    name: str
    meaning: str
    problem_types: tuple[ProblemType, ...]
    greater_is_better: bool
    function: _Score
    is_objective: bool = True

    def __call__(self, truth: np.ndarray, predictions: np.ndarray) -> float:
        """Return the value of the metric for predictions, float (rows, n)."""
        return float(self.function(truth, predictions[:, 0] if predictions.shape[1] == 1 else predictions))

    @property
    def platform_name(self) -> str:
        """The name of the metric on the platform. Every metric is of held-out rows."""
        return f"validation:{self.name}"

    @property
    def expression(self) -> str:
        """The regular expression by which the platform finds the value in the log, as its one group.

        `report.metrics.log_metrics` writes the lines.
        """
        return rf"{self.platform_name}=({_NUMBER});"

    @property
    def direction(self) -> str:
        """The direction as the platform's tuning jobs call it."""
        return "Maximize" if self.greater_is_better else "Minimize"


def accuracy(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the share of rows whose likeliest class is the true one."""
    return float((probabilities.argmax(axis=1) == truth).mean())


def log_loss(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean negative log-probability of the true class (natural logarithm)."""
    chosen = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, _TINY)).mean())


def calibration_error(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the expected calibration error of the likeliest class with 15 bins (Guo et al., 2017)."""
    return float(sum(abs(sure - right) * share for sure, right, share in calibration_curve(truth, probabilities)))


def calibration_curve(truth: np.ndarray, probabilities: np.ndarray) -> list[tuple[float, float, float]]:
    """Return the points of the calibration curve, one for each of 15 bins that has rows.

    A point has the mean probability of the likeliest class, the share of right rows in the bin, and the share of all
    rows that are in the bin.
    """
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    inside = [bins == number for number in np.unique(bins)]
    return [(float(sure[rows].mean()), float(right[rows].mean()), float(rows.mean())) for rows in inside]


def _sklearn(name: str) -> Any:
    # Imported at first use: commands that only read names and directions start faster.
    from sklearn import metrics

    return getattr(metrics, name)


def _f1_macro(truth: np.ndarray, probabilities: np.ndarray) -> float:
    return float(_sklearn("f1_score")(truth, probabilities.argmax(axis=1), average="macro"))


def _balanced_accuracy(truth: np.ndarray, probabilities: np.ndarray) -> float:
    # As scikit-learn's, which warns of predicted classes that these rows do not have.
    predicted = probabilities.argmax(axis=1)
    return float(np.mean([(predicted[truth == label] == label).mean() for label in np.unique(truth)]))


def _roc_auc(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean over the classes, each against the rest, without classes that no row or every row has."""
    if probabilities.shape[1] == 2:
        probabilities, labels = probabilities[:, 1:], [1]
    else:
        labels = list(np.unique(truth))
        probabilities = probabilities[:, labels]
    areas = [
        _area(truth == label, probabilities[:, column])
        for column, label in enumerate(labels)
        if 0 < (truth == label).sum() < len(truth)
    ]
    return float(np.mean(areas)) if areas else float("nan")


def _area(is_class: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the area under the ROC curve, by ranks. With many classes scikit-learn's function takes minutes."""
    from scipy.stats import rankdata

    rows = int(is_class.sum())
    ranks = float(rankdata(probabilities)[is_class].sum())
    return (ranks - rows * (rows + 1) / 2) / (rows * (len(is_class) - rows))


def _rmse(truth: np.ndarray, predictions: np.ndarray) -> float:
    return float(_sklearn("root_mean_squared_error")(truth, predictions))


def _mae(truth: np.ndarray, predictions: np.ndarray) -> float:
    return float(_sklearn("mean_absolute_error")(truth, predictions))


def _r2(truth: np.ndarray, predictions: np.ndarray) -> float:
    return float(_sklearn("r2_score")(truth, predictions))


METRICS = (
    Metric("accuracy", "share of rows whose likeliest class is the true one", _CLASSES, True, accuracy),
    Metric("log_loss", "mean negative logarithm of the true class's probability", _CLASSES, False, log_loss),
    Metric("f1_macro", "mean of the F1 scores of all classes", _CLASSES, True, _f1_macro),
    Metric("balanced_accuracy", "mean over the classes of the share of right rows", _CLASSES, True, _balanced_accuracy),
    Metric("roc_auc", "mean over the classes of the area under the ROC curve", _CLASSES, True, _roc_auc),
    Metric(
        "calibration_error",
        "mean difference between the predicted probability and the share of right rows",
        _CLASSES,
        False,
        calibration_error,
        is_objective=False,
    ),
    Metric("rmse", "root of the mean squared error", _NUMBERS, False, _rmse),
    Metric("mae", "mean absolute error", _NUMBERS, False, _mae),
    Metric("r2", "share of the variance that the predictions explain", _NUMBERS, True, _r2),
)

CLASSIFICATION: Mapping[str, Metric] = {m.name: m for m in METRICS if m.problem_types == _CLASSES}
REGRESSION: Mapping[str, Metric] = {m.name: m for m in METRICS if m.problem_types == _NUMBERS}


def metrics_of(task: Task) -> Mapping[str, Metric]:
    """Return the metrics that suit a task, by name."""
    return REGRESSION if task.is_regression else CLASSIFICATION


def scores_of(task: Task, truth: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Return the values of all metrics that suit a task for predictions, float (rows, n)."""
    return {name: metric(truth, predictions) for name, metric in metrics_of(task).items()}


def default_metric(task: Task) -> str:
    """Return the metric by which training selects where ``eval_metric`` is not set.

    It is a proper score: the best value is reached by the true probabilities.
    """
    return "rmse" if task.is_regression else "log_loss"


def metrics_markdown() -> str:
    """Return the table of metrics for ``docs/training.md``, with a final newline."""
    lines = ["| metric | computed for | better is | meaning |", "| --- | --- | --- | --- |"]
    for metric in METRICS:
        kind = "regression" if metric.problem_types == _NUMBERS else "classes"
        better = "greater" if metric.greater_is_better else "smaller"
        lines.append(f"| `{metric.name}` | {kind} | {better} | {metric.meaning} |")
    return "\n".join(lines) + "\n"
