"""Exact confidence bounds of a share that was counted on independent rows (Clopper and Pearson, 1934)."""

from __future__ import annotations

import numpy as np


def lower_bound(right: np.ndarray, rows: np.ndarray, confidence: float) -> np.ndarray:
    """Return the lower bound of the true share with this confidence, float (n,). It is 0 without rows.

    Parameters
    ----------
    right, rows
        Number of right rows, and number of all rows, int (n,).
    confidence
        Probability with which the true share is above the bound, for example 0.95.
    """
    from scipy.special import betaincinv

    right, rows = np.asarray(right), np.asarray(rows)
    with np.errstate(invalid="ignore"):
        bounds = betaincinv(np.maximum(right, 1), rows - right + 1, 1 - confidence)
    return np.asarray(np.where(right > 0, bounds, 0.0))


def interval(right: np.ndarray, rows: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper bound of the true share with this confidence, each float (n,). See `lower_bound`."""
    right, rows = np.asarray(right), np.asarray(rows)
    half = 1 - (1 - confidence) / 2
    return lower_bound(right, rows, half), 1 - lower_bound(rows - right, rows, half)


def chance_of(right: np.ndarray, rows: np.ndarray, share: float) -> np.ndarray:
    """Return the chance that at least `right` of `rows` rows are right if the true share is `share`, float (n,)."""
    from scipy.special import betainc

    right, rows = np.asarray(right), np.asarray(rows)
    return np.asarray(np.where(right > 0, betainc(np.maximum(right, 1), rows - right + 1, share), 1.0))


def least_rows(share: float, confidence: float) -> int:
    """Return the least number of rows that prove a share with this confidence, if all of them are right."""
    return int(np.ceil(np.log(1 - confidence) / np.log(share)))
