"""Temperature scaling (Guo et al., 2017, "On Calibration of Modern Neural Networks")."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

# One number needs no more scores than these: a hundred classes have all of 50,000 rows, 2,000 classes 2,500 of them.
_MOST_SCORES = 5_000_000


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature, from 0.05 to 20, that makes ``softmax(logits / temperature)`` most likely.

    Targets are smoothed as Platt does (1999, "Probabilistic Outputs for Support Vector Machines"). One more row is
    divided evenly among all classes. Without it, perfectly separated rows drive the temperature to 0. Where there are
    many scores, evenly spaced rows stand for all of them.

    Parameters
    ----------
    logits
        Out-of-fold scores, float (rows, n).
    labels
        Class indices, int (rows,).
    """
    step = max(1, -(-logits.size // _MOST_SCORES))
    logits, labels = logits[::step], labels[::step]

    def loss(log_temperature: float) -> float:
        return smoothed_log_loss(log_softmax(logits / np.exp(log_temperature), axis=1), labels)

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded").x))


def smoothed_log_loss(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the `log_loss` with one more row, which is divided evenly among all classes."""
    smoothing = 1.0 / (len(labels) + 1)
    even = -float(log_probabilities.mean())
    return (1 - smoothing) * log_loss(log_probabilities, labels) + smoothing * even


def log_loss(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean negative log-probability of the true class."""
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())
