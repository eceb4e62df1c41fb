"""Confident learning: finds rows whose label is probably wrong, from predictions of models not fitted to these rows.

Northcutt, Jiang and Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels. Journal of Artificial
Intelligence Research 70 (2021). The authors' package cleanlab has the licence AGPL-3.0, so this module implements the
method itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Errors are compared in ranges of similar predictions: the greatest number of ranges, and the least rows of a range.
_RANGES, _LEAST_ROWS = 10, 50
# The standard deviation of normal errors is this number of median absolute deviations.
_DEVIATIONS = 1.4826
# From this number of deviations on, a label is doubtful, or may be wrong.
_FAR_OUTSIDE, _OUTSIDE = 5.0, 3.5
# If all errors of a range are tiny, an ordinary error is not large: least deviation, as a share of that of all rows.
_LEAST_SCALE = 0.2


@dataclass(frozen=True)
class LabelDoubts:
    """Doubts about the labels of rows.

    Parameters
    ----------
    doubtful
        Whether each label is probably wrong, bool (rows,).
    possible
        Whether each label may be wrong, bool (rows,). True for every doubtful label, and for less certain ones.
    probable
        The probable label of each row: a class index, int (rows,), or a number, float (rows,).
    scores
        How well each label suits its row, float (rows,). The lowest score is the most doubtful. For classes, it is the
        probability of the label. For numbers, it is minus the size of the error in standard deviations.
    """

    doubtful: np.ndarray
    possible: np.ndarray
    probable: np.ndarray
    scores: np.ndarray


def doubt_classes(probabilities: np.ndarray, labels: np.ndarray) -> LabelDoubts:
    """Find the labels that the predictions contradict with confidence.

    Each class has a threshold: the mean probability of the class over the rows that are labelled with it. A label is
    doubtful if another class reaches its threshold and is likelier than the label. A label may be wrong if any other
    class is likelier. The score is the probability of the label. If classes are alike, this score finds planted wrong
    labels better than the margin to the best other class.

    Parameters
    ----------
    probabilities
        Held-out probabilities, float (rows, n).
    labels
        Class indices, int (rows,).
    """
    rows = np.arange(len(labels))
    own = probabilities[rows, labels].astype(np.float64)
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    means = np.bincount(labels, weights=own, minlength=probabilities.shape[1]) / np.maximum(counts, 1)
    thresholds = np.where(counts > 0, means, np.inf)
    rest = probabilities.astype(np.float64)
    rest[rows, labels] = -1.0
    confident = np.where(rest >= thresholds, rest, -1.0)
    best = np.where(confident.max(axis=1) >= 0, confident.argmax(axis=1), rest.argmax(axis=1))
    best = np.where(rest[rows, best] > own, best, rest.argmax(axis=1))
    doubtful = (confident.max(axis=1) >= 0) & (rest[rows, best] > own) & (confident[rows, best] >= 0)
    return LabelDoubts(doubtful, rest.max(axis=1) > own, best, own)


def doubt_numbers(predictions: np.ndarray, labels: np.ndarray) -> LabelDoubts:
    """Find the labels of a regression whose error is far larger than the errors of rows with a similar prediction.

    Parameters
    ----------
    predictions
        Held-out predictions, float (rows,).
    labels
        Numbers, float (rows,).
    """
    errors = labels - predictions
    scale = _deviation(errors) or float(np.std(errors)) or 1.0
    ranges = int(np.clip(len(errors) // _LEAST_ROWS, 1, _RANGES))
    scales = np.empty(len(errors))
    for part in np.array_split(np.argsort(predictions, kind="stable"), ranges):
        scales[part] = max(_deviation(errors[part]), _LEAST_SCALE * scale)
    far = np.abs(errors) / scales
    return LabelDoubts(far > _FAR_OUTSIDE, far > _OUTSIDE, predictions, -far)


def _deviation(errors: np.ndarray) -> float:
    """Return an estimate of the standard deviation that a few large errors hardly change. 0 without errors."""
    return _DEVIATIONS * float(np.median(np.abs(errors - np.median(errors)))) if len(errors) else 0.0
