"""Prediction sets: the classes of a row that hold the true class with a chosen probability.

The score of a class is the probability of all likelier classes of the row, plus a penalty for each of them (Romano,
Sesia and Candès, 2020, "Classification with Valid and Adaptive Coverage"; Angelopoulos et al., 2021, "Uncertainty Sets
for Image Classifiers using Conformal Prediction"). The likeliest class has score 0, so no set is empty. A class with
enough rows has a threshold of its own, and the other classes share one (Vovk, 2012, "Conditional Validity of Inductive
Conformal Predictors"). Coverage then holds for each frequent class, and for the rare ones together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from multimodal_algo.fusion.conformal.ranked import RankedScores
from multimodal_algo.fusion.conformal.rows import CalibrationRows

_PENALTIES = (0.0, 0.001, 0.01)
# Most scores in an artifact, and the fewest of a class.
_MOST_SCORES, _LEAST_SCORES = 20_000, 8
# A class has a threshold of its own where so many independent rows are expected beyond it.
_ROWS_BEYOND = 10
# Most probabilities that are in memory at once, and most that choose the penalty.
_MOST_AT_ONCE, _MOST_FOR_PENALTY = 4_000_000, 1_000_000
_ROUNDING = 1e-6


@dataclass(frozen=True)
class PredictionSets:
    """Scores by class, which give a threshold for each coverage.

    Parameters
    ----------
    penalty
        Penalty of a class for each class that is likelier.
    classes
        Scores of the calibration rows of each class. A class may have none.
    """

    penalty: float
    classes: Sequence[RankedScores]

    @classmethod
    def fit(cls, rows: CalibrationRows, coverage: float) -> PredictionSets:
        """Rank the scores of the true classes. The penalty is the one with the smallest sets at `coverage`."""
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
        """Return the largest score of each class in sets of this coverage, float64 (n,)."""
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
        """Return which classes are in the set of each row, bool (rows, n).

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
        """Return which classes are in the set of each row, bool (rows, n), in the order that `_ordered` returns."""
        limits = self.thresholds(coverage)
        limits = limits + _ROUNDING * (1 + np.where(np.isfinite(limits), limits, 0.0))
        return np.asarray(sums + self.penalty * np.arange(order.shape[1]) <= limits[order])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that `from_arrays` takes."""
        return {
            "penalty": np.array(self.penalty),
            "values": np.concatenate([scores.values for scores in self.classes]).astype(np.float32),
            "weights": np.concatenate([scores.weights for scores in self.classes]),
            "sizes": np.array([len(scores.values) for scores in self.classes]),
            "groups": np.array([scores.groups for scores in self.classes]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> PredictionSets:
        """Return the sets that have these arrays."""
        ends = np.cumsum(arrays["sizes"])[:-1]
        values, weights = (np.split(arrays[name].astype(np.float64), ends) for name in ("values", "weights"))
        groups = arrays["groups"].tolist()
        return cls(
            float(arrays["penalty"]), [RankedScores(*each) for each in zip(values, weights, groups, strict=True)]
        )


def _ordered(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes of each row, the likeliest first, int (rows, n), and the sums before them, float64 (rows, n).

    The sum before a class is the probability of all likelier classes of the row.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ordered = np.take_along_axis(probabilities, order, axis=1).astype(np.float64)
    return order, np.cumsum(ordered, axis=1) - ordered


def _true_scores(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of the classes that are likelier than the true one, and their number, each (rows,).

    Between equal probabilities the first class is the likelier one, as in `_ordered`.
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
