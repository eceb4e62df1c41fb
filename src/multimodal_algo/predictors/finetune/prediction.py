"""Predictions of a fine-tuned ``MultiModalPredictor``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from multimodal_algo.core.task import Task
from multimodal_algo.predictors.finetune._automm_compat import learner_of, logits_of, numbers_of

LABEL = "label"
"""Name of the label column that AutoMM gets."""
_BATCH = 64


def predictions_of(predictor: Any, inputs: pd.DataFrame, task: Task) -> np.ndarray:
    """Return class probabilities, or numbers, float32 (rows, n). Classes that it was not fitted to get 0."""
    predictions = np.zeros((len(inputs), task.outputs), dtype=np.float32)
    for start in range(0, len(inputs), _BATCH):
        rows = inputs.iloc[start : start + _BATCH].reset_index(drop=True)
        predictions[start : start + len(rows)] = _batch(predictor, rows, task)
    return predictions


def _batch(predictor: Any, rows: pd.DataFrame, task: Task) -> np.ndarray:
    from scipy.special import softmax

    learner = learner_of(predictor)
    logits = logits_of(learner, rows, LABEL)
    if task.is_regression:
        return np.reshape(numbers_of(learner, logits), (-1, 1))
    predictions = np.zeros((len(rows), task.outputs), dtype=np.float32)
    predictions[:, [int(label) for label in learner.class_labels]] = softmax(logits, axis=1)
    return predictions
