"""Prediction sets: sets of classes that contain the true class of a row with a chosen probability.

The score of a class is the total probability of all likelier classes of the row, plus a penalty for each of these
(Romano, Sesia and Candès, 2020, "Classification with Valid and Adaptive Coverage"; Angelopoulos et al., 2021,
"Uncertainty Sets for Image Classifiers using Conformal Prediction"). A class is in the set if its score is at most the
threshold of the class. The likeliest class has score 0, so no set is empty. A class with enough rows has a threshold of
its own, and the other classes share one (Vovk, 2012, "Conditional Validity of Inductive Conformal Predictors").
Therefore the coverage holds for each frequent class, and for all rare classes together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from multimodal_algo.fusion.conformal.ranked import RankedScores
from multimodal_algo.fusion.conformal.rows import CalibrationRows

_PENALTIES = (0.0, 0.001, 0.01)
# Greatest number of scores in an artifact, and least number of scores of a class.
_MOST_SCORES, _LEAST_SCORES = 20_000, 8
# A class has a threshold of its own if this number of its independent rows is expected above the threshold.
_ROWS_BEYOND = 10
# Greatest number of probabilities in memory at once, and greatest number from which the penalty is chosen.
_MOST_AT_ONCE, _MOST_FOR_PENALTY = 4_000_000, 1_000_000
_ROUNDING = 1e-6


@dataclass(frozen=True)
class PredictionSets:
    """Ranked scores of calibration rows by class. They give the thresholds for any coverage.

    Parameters
    ----------
    penalty
        Number that is added to the score of a class for each likelier class.
    classes
        Scores of the calibration rows of each class. A class may have no rows.
    """

    penalty: float
    classes: Sequence[RankedScores]

    @classmethod
    def fit(cls, rows: CalibrationRows, coverage: float) -> PredictionSets:
        """Rank the scores of the true classes. Choose the penalty that gives the smallest sets at `coverage`."""
        before, ranks = _true_scores(rows.predictions, rows.targets)
        own = [np.flatnonzero(rows.targets == label) for label in range(rows.predictions.shape[1])]
        most = max(_LEAST_SCORES, _MOST_SCORES // max(1, sum(len(each) > 0 for each in own)))

        def with_penalty(penalty: float) -> PredictionSets:
            scores = before + penalty * ranks
            ranked = [RankedScores.of(scores[each], rows.weights[each], rows.groups[each]) for each in own]
            return cls(penalty, [each.thinned(most) for each in ranked])

        order, sums = _ordered(rows.predictions[:: -(-rows.predictions.size // _MOST_FOR_PENALTY)])
        return min(map(with_penalty, _PENALTIES), key=lambda sets: sets._inside(order, sums, coverage).sum())

    def thresholds(self, coverage: float) -> np.ndarray:
        """Return the threshold of each class, float64 (n,): the largest score with which it is in a set."""
        enough = np.ceil(_ROWS_BEYOND / (1 - coverage) - _ROUNDING)
        by_rows = sorted(range(len(self.classes)), key=lambda label: self.classes[label].groups)
        shared: list[int] = []
        rows = 0
        for label in by_rows:
            if self.classes[label].groups >= enough and (rows >= enough or not shared):
                break
            shared.append(label)
            rows += self.classes[label].groups
        thresholds = np.array([scores.threshold(coverage) for scores in self.classes])
        if shared:
            thresholds[shared] = RankedScores.pooled([self.classes[label] for label in shared]).threshold(coverage)
        return thresholds

    def members(self, probabilities: np.ndarray, coverage: float) -> np.ndarray:
        """Return whether each class is in the set of a row, bool (rows, n).

        Parameters
        ----------
        probabilities
            Fused probabilities, float32 (rows, n).
        coverage
            Share of new rows whose true class is to be in their set, above 0 and below 1.
        """
        order, sums = _ordered(probabilities)
        members = np.empty(order.shape, dtype=bool)
        np.put_along_axis(members, order, self._inside(order, sums, coverage), axis=1)
        return members

    def _inside(self, order: np.ndarray, sums: np.ndarray, coverage: float) -> np.ndarray:
        """Return whether each class is in the set of its row, bool (rows, n), in the order that `_ordered` returns."""
        limits = self.thresholds(coverage)
        limits = limits + _ROUNDING * (1 + np.where(np.isfinite(limits), limits, 0.0))
        return np.asarray(sums + self.penalty * np.arange(order.shape[1]) <= limits[order])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the parameters as arrays by name, which `from_arrays` reads."""
        return {
            "penalty": np.array(self.penalty),
            "values": np.concatenate([scores.values for scores in self.classes]).astype(np.float32),
            "weights": np.concatenate([scores.weights for scores in self.classes]),
            "sizes": np.array([len(scores.values) for scores in self.classes]),
            "groups": np.array([scores.groups for scores in self.classes]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> PredictionSets:
        """Return the sets from the arrays that `arrays` returned."""
        ends = np.cumsum(arrays["sizes"])[:-1]
        values, weights = (np.split(arrays[name].astype(np.float64), ends) for name in ("values", "weights"))
        groups = arrays["groups"].tolist()
        return cls(
            float(arrays["penalty"]), [RankedScores(*each) for each in zip(values, weights, groups, strict=True)]
        )


def _ordered(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the class indices of each row, the likeliest class first, int (rows, n), and a sum for each of them.

    The sum is the total probability of all likelier classes of the row, float64 (rows, n).
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ordered = np.take_along_axis(probabilities, order, axis=1).astype(np.float64)
    return order, np.cumsum(ordered, axis=1) - ordered


def _true_scores(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the total probability of the classes that are likelier than the true class, and their number, (rows,).

    Of two classes with equal probabilities, the one with the smaller index counts as likelier, as in `_ordered`.
    """
    rows, classes = probabilities.shape
    before, ranks = np.empty(rows), np.empty(rows, dtype=np.int64)
    step = max(1, _MOST_AT_ONCE // classes)
    for start in range(0, rows, step):
        part, own = probabilities[start : start + step], labels[start : start + step, None]
        true = np.take_along_axis(part, own, axis=1)
        is_likelier = (part > true) | ((part == true) & (np.arange(classes) < own))
        before[start : start + step] = np.where(is_likelier, part, 0).sum(axis=1, dtype=np.float64)
        ranks[start : start + step] = is_likelier.sum(axis=1)
    return before, ranks
