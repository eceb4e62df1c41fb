"""Calibration by temperature scaling (Guo et al., 2017, "On Calibration of Modern Neural Networks")."""

from __future__ import annotations

import numpy as np

# One number needs no more scores than these: a hundred classes have all of 50,000 rows, 2,000 classes 2,500 of them.
_MOST_SCORES = 5_000_000
_LOWEST, _HIGHEST = 0.05, 20.0
_MOST_STEPS, _TOLERANCE, _TINY = 50, 1e-6, 1e-9


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature, from 0.05 to 20, for which ``softmax(logits / temperature)`` fits the labels best.

    Labels are smoothed as Platt does (1999, "Probabilistic Outputs for Support Vector Machines"): one more row is
    added, which belongs evenly to all classes. Without it, perfectly separated rows would drive the temperature to 0.
    If there are many scores, evenly spaced rows stand for all of them.

    Parameters
    ----------
    logits
        Scores of rows that the models were not fitted to, float (rows, n).
    labels
        Class indices, int (rows,).
    """
    step = max(1, -(-logits.size // _MOST_SCORES))
    logits, labels = logits[::step], labels[::step]
    logits = logits - logits.max(axis=1, keepdims=True)
    smoothing = 1.0 / (len(labels) + 1)
    true = float(logits[np.arange(len(labels)), labels].mean(dtype=np.float64))
    target = (1 - smoothing) * true + smoothing * float(logits.mean(dtype=np.float64))
    # The loss is convex in 1 / temperature. Newton's method finds where its derivative is 0, between narrowing bounds.
    inverse, low, high = 1.0, 1 / _HIGHEST, 1 / _LOWEST
    for _ in range(_MOST_STEPS):
        mean, variance = _moments(logits, inverse)
        if abs(mean - target) < _TINY:
            break
        low, high = (low, inverse) if mean > target else (inverse, high)
        following = inverse - (mean - target) / max(variance, _TINY)
        if not low < following < high:
            following = np.sqrt(low * high)
        is_settled = abs(following - inverse) < _TOLERANCE * inverse
        inverse = following
        if is_settled:
            break
    return float(1.0 / inverse)


def _moments(logits: np.ndarray, inverse: float) -> tuple[float, float]:
    """Return the mean and the variance of a row's scores, weighted by their softmax, averaged over all rows.

    The softmax has the temperature 1 / `inverse`.
    """
    weights = np.exp(logits * np.asarray(inverse, dtype=logits.dtype))
    totals = weights.sum(axis=1)
    weights *= logits
    means = weights.sum(axis=1) / totals
    squares = np.einsum("rn,rn->r", weights, logits) / totals
    return float(means.mean(dtype=np.float64)), float((squares - means**2).mean(dtype=np.float64))


def smoothed_log_loss(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the log-loss after one more row is added, which belongs evenly to all classes."""
    smoothing = 1.0 / (len(labels) + 1)
    even = -float(log_probabilities.mean())
    return (1 - smoothing) * log_loss(log_probabilities, labels) + smoothing * even


def log_loss(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean negative log-probability of each row's true class."""
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())
