"""Confidence intervals of metrics, by the bootstrap: how far another sample of rows would move them."""

from __future__ import annotations

import numpy as np

from multimodal_algo.core.metrics import metrics_of
from multimodal_algo.core.task import Task

_SAMPLES = 200
# With more numbers the intervals are narrow and resampling is slow.
_MOST_NUMBERS = 60_000_000


def intervals(truth: np.ndarray, predictions: np.ndarray, task: Task) -> dict[str, tuple[float, float]]:
    """Return the middle 95 % of each metric over resampled rows.

    The result is empty when resampling would take minutes, because there are so many rows and classes.

    Parameters
    ----------
    truth
        Class indices, int (rows,), or numbers, float (rows,).
    predictions
        Predictions, float (rows, n).
    task
        The kind of problem, which has its own metrics.
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
        values = [metric(truth[rows], predictions[rows]) for rows in drawn]
        low, high = np.percentile(values, [2.5, 97.5])
        spans[name] = (float(low), float(high))
    return spans
