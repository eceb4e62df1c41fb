"""Confidence intervals of metrics by the bootstrap. They show how much a metric changes with another sample of rows."""

from __future__ import annotations

import numpy as np

from multimodal_algo.core.metrics import metrics_of
from multimodal_algo.core.task import Task

_SAMPLES = 200
# With more numbers the intervals are narrow and resampling is slow.
_MOST_NUMBERS = 60_000_000


def intervals(truth: np.ndarray, predictions: np.ndarray, task: Task) -> dict[str, tuple[float, float]]:
    """Return the interval in which each metric lies for 95 % of resampled sets of rows.

    The result is empty if resampling would take minutes, because there are many rows and classes.

    Parameters
    ----------
    truth
        Class indices, int (rows,), or numbers, float (rows,).
    predictions
        Predictions, float (rows, n).
    task
        Problem type, which decides on the metrics.
    """
    samples = min(_SAMPLES, _MOST_NUMBERS // predictions.size)
    if samples < _SAMPLES // 4:
        return {}
    generator = np.random.default_rng(0)
    drawn = [generator.integers(len(truth), size=len(truth)) for _ in range(samples)]
    spans = {}
    for name, metric in metrics_of(task).items():
        if name in ("roc_auc", "calibration_error"):  # slow, and repeated rows raise them
            continue
        if name == "average_precision" and task.outputs > 2:  # slow
            continue
        values = np.array([metric(truth[rows], predictions[rows]) for rows in drawn])
        values = values[~np.isnan(values)]  # a sample may have no row of the positive class
        if not len(values):
            continue
        low, high = np.percentile(values, [2.5, 97.5])
        spans[name] = (float(low), float(high))
    return spans
