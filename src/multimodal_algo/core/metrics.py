"""The metrics, each declared once. Training selects a model with one of them, and reports all that suit the task.

The metric definitions and objectives of ``CreateAlgorithm`` and the table in ``docs/training.md`` are made from
`METRICS`. A new metric is one entry there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from multimodal_algo.core.class_scores import (
    ClassCounts,
    average_precision,
    average_precisions,
    brier_scores,
    matthews_correlation,
)
from multimodal_algo.core.task import ProblemType, Task

_Score = Callable[..., float]

# If one class has at least this share of the rows, accuracy says little about the other classes.
IMBALANCED = 0.8

_TINY = 1e-9
# A smaller deviation, as a share of the largest number, is rounding.
_CONSTANT = 1e-14
_BINS = 15
_NUMBER = r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?"
_CLASSES: tuple[ProblemType, ...] = ("binary", "multiclass")
_NUMBERS: tuple[ProblemType, ...] = ("regression",)


@dataclass(frozen=True)
class Metric:
    """A measure of how good predictions are, for example the accuracy.

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
    is_for_rare
        Whether the metric is shown first if one class has most of the rows, because it depends on the other classes.
    of_positive
        Whether the function has a third argument: the index of the positive class. It is used if there are two classes.
    positive
        Index of the positive class, the value of that third argument.
    """

    name: str
    meaning: str
    problem_types: tuple[ProblemType, ...]
    greater_is_better: bool
    function: _Score
    is_objective: bool = True
    is_for_rare: bool = False
    of_positive: bool = False
    positive: int = 1

    def __call__(self, truth: np.ndarray, predictions: np.ndarray) -> float:
        """Return the value of the metric: `truth` has the true label of each row, `predictions` are float (rows, n)."""
        more = (self.positive,) if self.of_positive else ()
        return float(self.function(truth, predictions[:, 0] if predictions.shape[1] == 1 else predictions, *more))

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


def _balanced_accuracy(truth: np.ndarray, probabilities: np.ndarray) -> float:
    # As scikit-learn's, which warns of predicted classes that these rows do not have.
    counts = ClassCounts.of(truth, probabilities)
    return float(counts.recall[counts.true > 0].mean())


def _mean_of(score: str) -> _Score:
    """Return a metric: the mean of a score over the classes. The score is a property of `ClassCounts`."""

    def mean(truth: np.ndarray, probabilities: np.ndarray) -> float:
        counts = ClassCounts.of(truth, probabilities)
        return float(getattr(counts, score)[counts.present].mean())

    return mean


def _weighted(score: str) -> _Score:
    """Return a metric: the mean of a property of `ClassCounts`, weighted by the number of rows of each class."""

    def weighted(truth: np.ndarray, probabilities: np.ndarray) -> float:
        counts = ClassCounts.of(truth, probabilities)
        return float(getattr(counts, score) @ counts.true / len(truth))

    return weighted


def _of_positive(score: str) -> _Score:
    """Return a metric: a property of `ClassCounts` for the positive class.

    With more than two classes, the metric is the mean of the property over the classes.
    """
    mean = _mean_of(score)

    def of_positive(truth: np.ndarray, probabilities: np.ndarray, positive: int) -> float:
        if probabilities.shape[1] != 2:
            return mean(truth, probabilities)
        return float(getattr(ClassCounts.of(truth, probabilities), score)[positive])

    return of_positive


def _average_precision(truth: np.ndarray, probabilities: np.ndarray, positive: int) -> float:
    if probabilities.shape[1] == 2:
        return average_precision(truth == positive, probabilities[:, positive])
    values = average_precisions(truth, probabilities)
    return float(values[~np.isnan(values)].mean())


def _mcc(truth: np.ndarray, probabilities: np.ndarray) -> float:
    return matthews_correlation(ClassCounts.of(truth, probabilities))


def _brier(truth: np.ndarray, probabilities: np.ndarray) -> float:
    scores = brier_scores(truth, probabilities)
    return float(scores.mean() if len(scores) == 2 else scores.sum())


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
        area_under_roc(truth == label, probabilities[:, column])
        for column, label in enumerate(labels)
        if 0 < (truth == label).sum() < len(truth)
    ]
    return float(np.mean(areas)) if areas else float("nan")


def area_under_roc(is_class: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve of one class, computed from ranks.

    scikit-learn's function takes minutes if there are many classes.

    Parameters
    ----------
    is_class
        Whether each row is of the class, bool (rows,). Some rows are, and some are not.
    scores
        Probabilities of the class, or other scores, float (rows,).
    """
    from scipy.stats import rankdata

    rows = int(is_class.sum())
    ranks = float(rankdata(scores)[is_class].sum())
    return (ranks - rows * (rows + 1) / 2) / (rows * (len(is_class) - rows))


def _rmse(truth: np.ndarray, predictions: np.ndarray) -> float:
    return float(_sklearn("root_mean_squared_error")(truth, predictions))


def _mae(truth: np.ndarray, predictions: np.ndarray) -> float:
    return float(_sklearn("mean_absolute_error")(truth, predictions))


def _r2(truth: np.ndarray, predictions: np.ndarray) -> float:
    return float(_sklearn("r2_score")(truth, predictions))


def _median_absolute_error(truth: np.ndarray, predictions: np.ndarray) -> float:
    return float(np.median(np.abs(truth - predictions)))


def _mape(truth: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean absolute error as a share of the true number. Rows with the number 0 are left out."""
    rows = truth != 0
    return float(np.mean(np.abs(predictions[rows] / truth[rows] - 1))) if rows.any() else float("nan")


def _pearson(truth: np.ndarray, predictions: np.ndarray) -> float:
    """Return the correlation of predictions and true numbers. It is 0 if either are all equal."""
    first, other = (_standardised(numbers) for numbers in (truth, predictions))
    return float((first * other).mean())


def _spearman(truth: np.ndarray, predictions: np.ndarray) -> float:
    from scipy.stats import rankdata

    return _pearson(rankdata(truth), rankdata(predictions))


def _standardised(numbers: np.ndarray) -> np.ndarray:
    """Return the numbers scaled to mean 0 and deviation 1, float64 (rows,). Return zeros if all are equal."""
    largest = float(np.abs(numbers).max()) or 1.0  # the squares of huge numbers are infinite
    shares = numbers / largest
    shares = shares - shares.mean()
    deviation = float(shares.std())
    return np.asarray(shares / deviation) if deviation > _CONSTANT else np.zeros(len(numbers))


METRICS: tuple[Metric, ...] = (
    Metric("accuracy", "share of rows whose likeliest class is the true one", _CLASSES, True, accuracy),
    Metric("log_loss", "mean negative logarithm of the true class's probability", _CLASSES, False, log_loss),
    Metric("f1_macro", "mean of the F1 scores of all classes", _CLASSES, True, _mean_of("f1")),
    Metric("balanced_accuracy", "mean over the classes of the share of right rows", _CLASSES, True, _balanced_accuracy),
    Metric("roc_auc", "mean over the classes of the area under the ROC curve", _CLASSES, True, _roc_auc),
    Metric(
        "calibration_error", "mean difference between the predicted probability and the share of right rows",
        _CLASSES, False, calibration_error, is_objective=False,
    ),
    Metric(
        "average_precision",
        "area under the precision-recall curve of the positive class, or its mean over more than two classes",
        _CLASSES, True, _average_precision, is_for_rare=True, of_positive=True,
    ),
    Metric(
        "f1", "F1 score of the positive class, or its mean over more than two classes",
        _CLASSES, True, _of_positive("f1"), is_for_rare=True, of_positive=True,
    ),
    Metric(
        "precision",
        "share of right rows among those predicted as the positive class, or its mean over more than two classes",
        _CLASSES, True, _of_positive("precision"), is_for_rare=True, of_positive=True,
    ),
    Metric(
        "recall",
        "share of the rows of the positive class that are predicted as such, or its mean over more than two classes",
        _CLASSES, True, _of_positive("recall"), is_for_rare=True, of_positive=True,
    ),
    Metric("mcc", "Matthews correlation coefficient over all classes", _CLASSES, True, _mcc, is_for_rare=True),
    Metric(
        "brier", "mean squared error of the positive class's probability, or the sum over more than two classes",
        _CLASSES, False, _brier,
    ),
    Metric("f1_weighted", "mean of the F1 scores, weighted by the rows of a class", _CLASSES, True, _weighted("f1")),
    Metric("precision_macro", "mean of the precisions of all classes", _CLASSES, True, _mean_of("precision")),
    Metric(
        "precision_weighted", "mean of the precisions, weighted by the rows of a class",
        _CLASSES, True, _weighted("precision"),
    ),
    Metric("recall_macro", "mean of the recalls of all classes", _CLASSES, True, _mean_of("recall")),
    Metric(
        "recall_weighted", "mean of the recalls, weighted by the rows of a class",
        _CLASSES, True, _weighted("recall"),
    ),
    Metric("rmse", "root of the mean squared error", _NUMBERS, False, _rmse),
    Metric("mae", "mean absolute error", _NUMBERS, False, _mae),
    Metric("r2", "share of the variance that the predictions explain", _NUMBERS, True, _r2),
    Metric("median_absolute_error", "median absolute error", _NUMBERS, False, _median_absolute_error),
    Metric("mape", "mean of absolute error divided by label, without rows whose label is 0", _NUMBERS, False, _mape),
    Metric("pearson", "Pearson's correlation of predictions and labels", _NUMBERS, True, _pearson),
    Metric("spearman", "Spearman's rank correlation of predictions and labels", _NUMBERS, True, _spearman),
)  # fmt: skip

CLASSIFICATION: Mapping[str, Metric] = {m.name: m for m in METRICS if m.problem_types == _CLASSES}
_OF_FIRST: Mapping[str, Metric] = {name: replace(metric, positive=0) for name, metric in CLASSIFICATION.items()}
REGRESSION: Mapping[str, Metric] = {m.name: m for m in METRICS if m.problem_types == _NUMBERS}


def metrics_of(task: Task) -> Mapping[str, Metric]:
    """Return the metrics that suit a task, by name. They use the positive class of the task."""
    if task.is_regression:
        return REGRESSION
    return CLASSIFICATION if task.positive else _OF_FIRST


def scores_of(task: Task, truth: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Return the values of all metrics that suit a task, by name.

    `truth` has the true label of each row, and `predictions` are float (rows, n). The metrics to look at come first: if
    one class has at least 80 % of the rows, they are the metrics that show how well the other classes are predicted.
    """
    metrics = metrics_of(task)
    is_imbalanced = not task.is_regression and np.bincount(truth).max() >= IMBALANCED * len(truth)
    order = sorted(metrics, key=lambda name: not metrics[name].is_for_rare) if is_imbalanced else metrics
    return {name: metrics[name](truth, predictions) for name in order}


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
