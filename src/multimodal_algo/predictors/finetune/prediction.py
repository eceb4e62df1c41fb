"""How a fine-tuned ``MultiModalPredictor`` predicts rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from multimodal_algo.core.softmax import softmax
from multimodal_algo.core.task import Task
from multimodal_algo.predictors.finetune._automm_compat import learner_of, logits_of, numbers_of

LABEL = "label"
"""Name of the label column that AutoMM gets."""
_BATCH = 64


class Outputs(BaseModel):
    """How the raw outputs of a network become predictions.

    ``labels`` are class indices in the order of the outputs. They are empty for a regression, whose predicted number is
    the output times ``scale`` plus ``mean``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: tuple[int, ...] = ()
    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, learner: Any) -> Outputs:
        """Return how the outputs of the network of AutoMM's `learner` become predictions."""
        if learner.problem_type != "regression":
            return cls(labels=tuple(int(label) for label in learner.class_labels))
        mean, end = numbers_of(learner, np.array([[0.0], [1.0]])).tolist()  # AutoMM's scales are linear
        return cls(mean=mean, scale=end - mean)

    def predictions(self, logits: np.ndarray, task: Task) -> np.ndarray:
        """Return predictions from a network's outputs (`logits`), float32 (rows, outputs).

        Predictions are class probabilities or numbers, float32 (rows, n). Classes that the network was not fitted to
        get 0.
        """
        if task.is_regression:
            return np.nan_to_num(np.reshape(logits, (-1, 1)) * self.scale + self.mean).astype(np.float32)
        predictions = np.zeros((len(logits), task.outputs), dtype=np.float32)
        predictions[:, list(self.labels)] = softmax(logits)
        return predictions


def predictions_of(predictor: Any, inputs: pd.DataFrame, task: Task) -> np.ndarray:
    """Return a ``MultiModalPredictor``'s predictions for rows: class probabilities or numbers, float32 (rows, n)."""
    learner = learner_of(predictor)
    outputs = Outputs.of(learner)
    predictions = np.zeros((len(inputs), task.outputs), dtype=np.float32)
    for start in range(0, len(inputs), _BATCH):
        rows = inputs.iloc[start : start + _BATCH].reset_index(drop=True)
        predictions[start : start + len(rows)] = outputs.predictions(logits_of(learner, rows, LABEL), task)
    return predictions
