"""Confidence intervals of metrics, by the bootstrap: how far another sample of rows would have moved them."""

from __future__ import annotations

import numpy as np

from multimodal_algo.core.metrics import metrics_of
from multimodal_algo.core.task import Task

_SAMPLES = 200
# Beyond this the intervals are narrow, and a resample is a slow one.
_MOST_NUMBERS = 60_000_000


def intervals(truth: np.ndarray, answers: np.ndarray, task: Task) -> dict[str, tuple[float, float]]:
    """The middle 95 % of each metric over resampled rows.

    Parameters
    ----------
    truth
        Class indices, int (rows,), or numbers, float (rows,).
    answers
        float (rows, n).
    task
        Which metrics there are; none is resampled of so many rows and classes that it would take minutes.
    """
    samples = min(_SAMPLES, _MOST_NUMBERS // answers.size)
    if samples < _SAMPLES // 4:
        return {}
    generator = np.random.default_rng(0)
    drawn = [generator.integers(len(truth), size=len(truth)) for _ in range(samples)]
    spans = {}
    for name, metric in metrics_of(task).items():
        if name in ("roc_auc", "calibration_error"):  # slow, and biased upwards by repeated rows
            continue
        values = [metric(truth[rows], answers[rows]) for rows in drawn]
        low, high = np.percentile(values, [2.5, 97.5])
        spans[name] = (float(low), float(high))
    return spans
