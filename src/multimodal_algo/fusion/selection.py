"""By what ways to combine are compared, and the last step from their answer to the one that ships."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from multimodal_algo.core.metrics import metrics_of
from multimodal_algo.core.task import Task
from multimodal_algo.fusion.calibration import fit_temperature, smoothed_log_loss

_TINY = 1e-9


@dataclass(frozen=True)
class Finish:
    """The last step of a classification.

    Parameters
    ----------
    temperature
        Divides the logarithms of probabilities.
    weights
        Of each class, float32 (n,); None for even ones. Probabilities are multiplied by them, which is what training
        with such weights in the loss tends to (Menon et al., 2021, "Long-tail learning via logit adjustment").
    """

    temperature: float
    weights: np.ndarray | None = None

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities, float32 (rows, n)."""
        logs = np.log(probabilities + _TINY) / self.temperature
        if self.weights is not None:
            logs = logs + np.log(self.weights)
        return softmax(logs, axis=1).astype(np.float32)


@dataclass(frozen=True)
class Selector:
    """Compares answers to rows that they were not fitted to.

    Parameters
    ----------
    task
        What is predicted.
    metric
        Name of the metric that decides, see `metrics`.
    weights
        See `Finish`.
    """

    task: Task
    metric: str
    weights: np.ndarray | None = None

    @property
    def told(self) -> str:
        """What `losses` gives, in words."""
        return f"1 - {self.metric}" if metrics_of(self.task)[self.metric].greater_is_better else self.metric

    def finish(self, answers: np.ndarray, truth: np.ndarray) -> Finish | None:
        """The last step that suits `answers`; None for a regression."""
        if self.task.is_regression:
            return None
        # Never sharper than what was fitted: rows of training are more like each other than like those to come.
        return Finish(max(1.0, fit_temperature(np.log(answers + _TINY), truth)), self.weights)

    def losses(self, answers: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
        """The less the better: by the metric, and what decides between equals."""
        finish = self.finish(answers, truth)
        if finish is None:
            return self._loss(truth, answers), 0.0
        even = Finish(finish.temperature)(answers)
        proper = smoothed_log_loss(np.log(even + _TINY), truth)
        if self.metric == "log_loss":
            return proper, 0.0
        return self._loss(truth, finish(answers)), proper

    def _loss(self, truth: np.ndarray, answers: np.ndarray) -> float:
        metric = metrics_of(self.task)[self.metric]
        value = metric(truth, answers)
        return 1.0 - value if metric.greater_is_better else value
