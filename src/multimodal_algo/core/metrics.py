"""The metrics, each declared once. Training selects a model with one of them, and reports all that suit the task.

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
    """A measure of how good predictions are, such as the accuracy.

    Parameters
    ----------
    name
        Name of the metric in ``metrics.json`` and in the hyperparameter ``eval_metric``.
    meaning
        Explanation for users, without a final full stop.
    problem_types
        Problem types for which the metric is computed.
    greater_is_better
        Whether a greater value is better.
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
        """Return the value of the metric: `truth` has the true label of each row, `predictions` are float (rows, n)."""
        return float(self.function(truth, predictions[:, 0] if predictions.shape[1] == 1 else predictions))

    @property
    def platform_name(self) -> str:
        """The name of the metric on SageMaker: ``validation:`` and its own name, as held-out rows are used."""
        return f"validation:{self.name}"

    @property
    def expression(self) -> str:
        """The regular expression with which SageMaker finds the value in the log. Its one group is the value.

        `report.metrics.log_metrics` writes these log lines.
        """
        return rf"{self.platform_name}=({_NUMBER});"

    @property
    def direction(self) -> str:
        """``Maximize`` or ``Minimize``, as SageMaker's tuning jobs call the direction of the metric."""
        return "Maximize" if self.greater_is_better else "Minimize"


def accuracy(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the share of rows whose most probable class is the true class."""
    return float((probabilities.argmax(axis=1) == truth).mean())


def log_loss(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean negative log-probability of the true class (natural logarithm)."""
    chosen = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, _TINY)).mean())


def calibration_error(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the expected calibration error: how far probabilities are from the share of right rows.

    It is computed for the most probable class, in 15 bins (Guo et al., 2017).
    """
    return float(sum(abs(sure - right) * share for sure, right, share in calibration_curve(truth, probabilities)))


def calibration_curve(truth: np.ndarray, probabilities: np.ndarray) -> list[tuple[float, float, float]]:
    """Return the points of the calibration curve, one for each of 15 bins of probability that has rows.

    A point has three numbers: the mean probability of the most probable class, the share of right rows in the bin, and
    the share of all rows that are in the bin.
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
    """Return the mean area under the ROC curve over the classes, each against all other classes.

    A class that no row or every row has is left out.
    """
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
    """Return the area under the ROC curve of one class, computed from ranks.

    scikit-learn's function takes minutes if there are many classes.
    """
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
    """Return the metrics that suit a task, each under its name."""
    return REGRESSION if task.is_regression else CLASSIFICATION


def scores_of(task: Task, truth: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Return the values of all metrics that suit a task, each under its name. The predictions are float (rows, n)."""
    return {name: metric(truth, predictions) for name, metric in metrics_of(task).items()}


def default_metric(task: Task) -> str:
    """Return the metric with which training selects a model if ``eval_metric`` is not set.

    It is a proper score: no predictions score better than the true probabilities.
    """
    return "rmse" if task.is_regression else "log_loss"


def metrics_markdown() -> str:
    """Return the table of metrics in ``docs/training.md`` as Markdown, with a final newline."""
    lines = ["| metric | computed for | better is | meaning |", "| --- | --- | --- | --- |"]
    for metric in METRICS:
        kind = "regression" if metric.problem_types == _NUMBERS else "classes"
        better = "greater" if metric.greater_is_better else "smaller"
        lines.append(f"| `{metric.name}` | {kind} | {better} | {metric.meaning} |")
    return "\n".join(lines) + "\n"
