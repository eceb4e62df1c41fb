"""The metric by which training compares predictions, and the last step of the fusion: calibration and class weights."""

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
        Number that divides the logarithms of the probabilities.
    class_weights
        Weight of each class, by which its probability is multiplied, float32 (n,). None for even weights. Training with
        such weights in the loss tends to the same predictions (Menon et al., 2021, "Long-tail learning via logit
        adjustment").
    """

    temperature: float
    class_weights: np.ndarray | None = None

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the probabilities after calibration and class weights, float32 (rows, n)."""
        logs = np.log(probabilities + _TINY) / self.temperature
        if self.class_weights is not None:
            logs = logs + np.log(self.class_weights)
        return softmax(logs).astype(np.float32)


@dataclass(frozen=True)
class Selector:
    """Compares predictions for held-out rows, to choose among ways of combining votes.

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
        """Name of the loss that decides, for the log: the metric, or 1 minus the metric if larger values are better."""
        return f"1 - {self.metric}" if metrics_of(self.task)[self.metric].greater_is_better else self.metric

    def finish(self, predictions: np.ndarray, targets: np.ndarray) -> Finish | None:
        """Return calibration and class weights for these held-out predictions. Return None for a regression."""
        if self.task.is_regression:
            return None
        return Finish(fit_temperature(np.log(predictions + _TINY), targets), self.class_weights)

    def losses(self, predictions: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
        """Return two losses of predictions: one by the chosen metric, and one that decides if the first is equal."""
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
