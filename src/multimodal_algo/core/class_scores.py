"""Scores of single classes, each against the rest, as scikit-learn defines them.

The scores are computed from counts of rows. With many classes, or for the many samples of a bootstrap, scikit-learn's
functions take minutes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassCounts:
    """Numbers of rows of each of n classes, from which scores are computed.

    Parameters
    ----------
    true, predicted, right
        For each class: the number of its rows, the number of rows that are predicted to be of the class, and the number
        of rows that are both, int64 (n,).
    """

    true: np.ndarray
    predicted: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, truth: np.ndarray, probabilities: np.ndarray) -> ClassCounts:
        """Count rows with the class indices `truth`, int (rows,), and `probabilities`, float (rows, n)."""
        predicted, classes = probabilities.argmax(axis=1), probabilities.shape[1]
        counted = (truth, predicted, truth[predicted == truth])
        return cls(*(np.bincount(rows, minlength=classes) for rows in counted))

    @property
    def present(self) -> np.ndarray:
        """Whether any row is of the class or is predicted to be, bool (n,).

        Means over the classes leave out classes without such a row.
        """
        return np.asarray((self.true + self.predicted) > 0)

    @property
    def precision(self) -> np.ndarray:
        """The share of right rows among those predicted to be of each class, float (n,). 0 without such rows."""
        return _share(self.right, self.predicted)

    @property
    def recall(self) -> np.ndarray:
        """The share of right rows among the rows of each class, float (n,). 0 without rows of the class."""
        return _share(self.right, self.true)

    @property
    def f1(self) -> np.ndarray:
        """The harmonic mean of precision and recall of each class, float (n,)."""
        return _share(2 * self.right, self.true + self.predicted)

    @property
    def correlation(self) -> np.ndarray:
        """The Matthews correlation coefficient of each class against the rest, float (n,). 0 if it is undefined."""
        rows = self.true.sum()
        moved = self.right * rows - self.true * self.predicted
        spread = np.sqrt(1.0 * self.true * (rows - self.true)) * np.sqrt(1.0 * self.predicted * (rows - self.predicted))
        return _share(moved, spread)


def matthews_correlation(counts: ClassCounts) -> float:
    """Return the Matthews correlation coefficient over all classes (Gorodkin, 2004). 0 if it is undefined."""
    rows = float(counts.true.sum())
    moved = counts.right.sum() * rows - float(counts.true @ counts.predicted)
    spread = (rows**2 - float(counts.true @ counts.true)) * (rows**2 - float(counts.predicted @ counts.predicted))
    return moved / spread**0.5 if spread > 0 else 0.0


def brier_scores(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the mean squared error of the probability of each class, float64 (n,).

    `truth` has class indices, int (rows,), and `probabilities` are float (rows, n).
    """
    squares = np.einsum("rn,rn->n", probabilities, probabilities, dtype=np.float64)
    true = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    errors = 1.0 - 2.0 * true
    return np.asarray((squares + np.bincount(truth, errors, minlength=probabilities.shape[1])) / len(truth))


def average_precision(is_class: np.ndarray, scores: np.ndarray) -> float:
    """Return the average precision of one class, the area under its precision-recall curve. NaN without its rows.

    Each row of the class counts with the precision of a threshold at the row's score.

    Parameters
    ----------
    is_class
        Whether a row is of the class, bool (rows,).
    scores
        Scores of the rows, float (rows,).
    """
    positives = np.sort(scores[is_class])
    if not len(positives):
        return float("nan")
    # A row below the least score of the class does not count, and most rows are there.
    reached = np.sort(scores[scores >= positives[0]])
    right = len(positives) - np.searchsorted(positives, positives)
    return float(np.mean(right / (len(reached) - np.searchsorted(reached, positives))))


def average_precisions(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the `average_precision` of each class, float64 (n,). It is NaN for a class without rows."""
    columns = np.ascontiguousarray(probabilities.T)
    return np.array([average_precision(truth == label, column) for label, column in enumerate(columns)])


def scores_by_class(truth: np.ndarray, probabilities: np.ndarray) -> list[dict[str, float]]:
    """Return a dict for each class: its scores against the rest by name, and the number of its ``rows``.

    The dict of a class without rows is empty.

    Parameters
    ----------
    truth
        Class indices, int (rows,).
    probabilities
        Probabilities, float (rows, n).
    """
    counts = ClassCounts.of(truth, probabilities)
    columns = {
        "rows": counts.true,
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "average_precision": average_precisions(truth, probabilities),
        "mcc": counts.correlation,
        "brier": brier_scores(truth, probabilities),
    }
    return [
        {name: values[label].item() for name, values in columns.items()} if rows else {}
        for label, rows in enumerate(counts.true)
    ]


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
