"""The rule that turns probabilities into answers. Training chooses with it, and serving answers by it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Decisions:
    """The answers to rows.

    Parameters
    ----------
    guesses
        Index of the class that each row would be answered with, int64 (rows,).
    is_reviewed
        Whether a person should look at the row, because it does not reach a threshold, bool (rows,).
    """

    guesses: np.ndarray
    is_reviewed: np.ndarray


@dataclass(frozen=True)
class DecisionRule:
    """The rule by which probabilities become answers.

    The likeliest of the classes that have a threshold is answered where it reaches its threshold. Otherwise the
    likeliest of the other classes is answered. Where all classes have a threshold, the row is left to a person. So is a
    row whose answer has a probability below `abstain_below`.

    Parameters
    ----------
    thresholds
        Threshold by the index of the class.
    abstain_below
        Least probability of an answer.

    Examples
    --------
    >>> import numpy as np
    >>> decisions = DecisionRule({1: 0.2}, 0.6).apply(np.array([[0.9, 0.1], [0.7, 0.3]]))
    >>> decisions.guesses.tolist(), decisions.is_reviewed.tolist()
    ([0, 1], [False, True])
    """

    thresholds: Mapping[int, float]
    abstain_below: float = 0.0

    def may_review(self, classes: int) -> bool:
        """Return whether a row of this number of classes may be left to a person."""
        return self.abstain_below > 0 or len(self.thresholds) == classes

    def apply(self, probabilities: np.ndarray) -> Decisions:
        """Return the answers to rows with `probabilities`, float (rows, n)."""
        rows, classes = np.arange(len(probabilities)), probabilities.shape[1]
        named = sorted(self.thresholds)
        if not named:
            guesses = probabilities.argmax(axis=1)
            reaches = np.ones(len(rows), dtype=bool)
        else:
            guesses = strongest_of(probabilities, named)
            thresholds = np.array([self.thresholds.get(label, np.inf) for label in range(classes)])
            reaches = probabilities[rows, guesses] >= thresholds[guesses]
            if rest := [label for label in range(classes) if label not in self.thresholds]:
                guesses = np.where(reaches, guesses, strongest_of(probabilities, rest))
                reaches = np.ones(len(rows), dtype=bool)
        return Decisions(guesses, ~reaches | (probabilities[rows, guesses] < self.abstain_below))


def strongest_of(probabilities: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """Return the likeliest of the classes `labels` in each row, int64 (rows,)."""
    return np.asarray(np.asarray(labels)[probabilities[:, list(labels)].argmax(axis=1)])


def scores_for(label: int, probabilities: np.ndarray, named: Collection[int], abstain_below: float = 0.0) -> np.ndarray:
    """Return the score that the threshold of a class is compared with, float (rows,), -1 for rows that never get it.

    It is the probability of the class, where no other class with a threshold is likelier and the rule does not abstain.
    It does not depend on any threshold, so that each class keeps its promise whatever the others choose.

    Parameters
    ----------
    label
        Index of the class.
    probabilities
        Probabilities, float (rows, n).
    named
        Indices of all classes that have a threshold.
    abstain_below
        Least probability of an answer.
    """
    scores = probabilities[:, label]
    is_possible = (strongest_of(probabilities, sorted(named)) == label) & (scores >= abstain_below)
    return np.where(is_possible, scores, -1.0)
