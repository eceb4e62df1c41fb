"""The metric by which training chooses, and the last step from a combination to the predictions that ship."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multimodal_algo.core.metrics import metrics_of
from multimodal_algo.core.softmax import log_softmax, softmax
from multimodal_algo.core.task import Task
from multimodal_algo.fusion.calibration import fit_temperature, smoothed_log_loss

_TINY = 1e-9


@dataclass(frozen=True)
class Finish:
    """The last step of a classification: calibration, then class weights.

    Parameters
    ----------
    temperature
        Divisor of the logarithms of probabilities.
    class_weights
        Weight of each class, float32 (n,). None for even weights. Probabilities are multiplied by them. Training with
        such weights in the loss tends to the same predictions (Menon et al., 2021, "Long-tail learning via logit
        adjustment").
    """

    temperature: float
    class_weights: np.ndarray | None = None

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """Return calibrated and weighted probabilities, float32 (rows, n)."""
        logs = np.log(probabilities + _TINY) / self.temperature
        if self.class_weights is not None:
            logs = logs + np.log(self.class_weights)
        return softmax(logs).astype(np.float32)


@dataclass(frozen=True)
class Selector:
    """Compares predictions for rows that they were not fitted to.

    Parameters
    ----------
    task
        Problem type and number of outputs.
    metric
        Name of the metric that decides, see `core.metrics`.
    class_weights
        See `Finish`.
    """

    task: Task
    metric: str
    class_weights: np.ndarray | None = None

    @property
    def loss_name(self) -> str:
        """A name for the first value of `losses`."""
        return f"1 - {self.metric}" if metrics_of(self.task)[self.metric].greater_is_better else self.metric

    def finish(self, predictions: np.ndarray, targets: np.ndarray) -> Finish | None:
        """Return the last step that suits `predictions`, or None for a regression."""
        if self.task.is_regression:
            return None
        return Finish(fit_temperature(np.log(predictions + _TINY), targets), self.class_weights)

    def losses(self, predictions: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
        """Return the loss by the metric, and a second loss that decides between equal ones. Less is better."""
        if self.task.is_regression:
            return self._loss(targets, predictions), 0.0
        logs = np.log(predictions + _TINY)
        temperature = fit_temperature(logs, targets)
        calibrated = np.maximum(log_softmax(logs / np.float32(temperature)), np.float32(np.log(_TINY)))
        log_loss = smoothed_log_loss(calibrated, targets)
        if self.metric == "log_loss":
            return log_loss, 0.0
        return self._loss(targets, Finish(temperature, self.class_weights)(predictions)), log_loss

    def _loss(self, targets: np.ndarray, predictions: np.ndarray) -> float:
        metric = metrics_of(self.task)[self.metric]
        value = metric(targets, predictions)
        return 1.0 - value if metric.greater_is_better else value
