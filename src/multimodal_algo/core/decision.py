"""The rule that turns probabilities into answers. Training chooses thresholds for it, and serving applies it."""

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
        Index of the class that answers each row, int64 (rows,). For a row that is left to a person, the best guess.
    is_reviewed
        Whether the row is left to a person, because it does not reach a threshold, bool (rows,).
    """

    guesses: np.ndarray
    is_reviewed: np.ndarray


@dataclass(frozen=True)
class DecisionRule:
    """The rule that turns the probabilities of a row into an answer.

    The rule takes the likeliest class among those with a threshold. If this class reaches its threshold, it is the
    answer. Otherwise the answer is the likeliest class without a threshold. If every class has a threshold, the row is
    left to a person. A row whose answer has a probability below `abstain_below` is left to a person too.

    Parameters
    ----------
    thresholds
        Thresholds by the index of the class.
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
        """Return whether the rule may leave rows to a person, for this number of classes."""
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
    """Return the index of the likeliest class of each row, int64 (rows,), among the class indices `labels`."""
    return np.asarray(np.asarray(labels)[probabilities[:, list(labels)].argmax(axis=1)])


def scores_for(label: int, probabilities: np.ndarray, named: Collection[int], abstain_below: float = 0.0) -> np.ndarray:
    """Return the score of each row that is compared with the threshold of a class, float (rows,).

    The score is the probability of the class. It is -1 if the rule cannot answer the row with the class: another class
    with a threshold is likelier, or the probability is below `abstain_below`. Scores do not depend on any threshold, so
    each class keeps its promise, whatever the thresholds of other classes are.

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
