"""Confident learning: the rows whose label is probably wrong, by predictions of models that did not see them.

Northcutt, Jiang and Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels. Journal of Artificial
Intelligence Research 70 (2021). The package cleanlab of the same authors has the licence AGPL-3.0, so this module has
the method itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Numbers are compared with those whose prediction is alike: this many ranges, with at least this many rows each.
_RANGES, _LEAST_ROWS = 10, 50
# The standard deviation of normal errors is this number of median absolute deviations.
_DEVIATIONS = 1.4826
# An error of this number of deviations is far outside, or may be.
_FAR_OUTSIDE, _OUTSIDE = 5.0, 3.5
# A range whose errors are all small does not make each other error large: the least share of the deviation of all.
_LEAST_SCALE = 0.2


@dataclass(frozen=True)
class LabelDoubts:
    """Doubts about the labels of rows.

    Parameters
    ----------
    doubtful
        Whether each label is probably wrong, bool (rows,).
    possible
        Whether each label may be wrong, bool (rows,). It is true for all doubtful ones.
    probable
        The probable label of each row: a class index, int (rows,), or a number, float (rows,).
    scores
        How well each label suits its row, float (rows,). The lowest are the most doubtful. For classes from 0 to 1, for
        numbers the error in deviations, times -1.
    """

    doubtful: np.ndarray
    possible: np.ndarray
    probable: np.ndarray
    scores: np.ndarray


def doubt_classes(probabilities: np.ndarray, labels: np.ndarray) -> LabelDoubts:
    """Find the labels that the predictions contradict with confidence.

    A row counts for a class where its probability is at least the mean of that class's own rows. A label is doubtful
    where its row counts for another class, which also has the greater probability. It may be wrong where any other
    class has the greater probability. The score is the probability of the label. It finds planted labels better than
    the margin to the best other class where classes are alike.

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
    """Find the numbers that lie far outside the errors of rows with a like prediction.

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
    """Return a standard deviation that a few large errors do not change."""
    return _DEVIATIONS * float(np.median(np.abs(errors - np.median(errors)))) if len(errors) else 0.0
