"""Chooses a threshold on held-out rows, so that a promised precision, recall or accuracy holds on new rows.

A promised share holds with 95 % confidence: of all jobs that make a promise, at most 5 % give a model that breaks it.
This is true if no model was fitted to the held-out rows, and if they are a random sample of the same kind as new rows.

- A precision or an accuracy, which is a share of right rows: candidates for the threshold are tested in descending
  order, until one fails. The scores alone choose the first candidate. Each test is an exact binomial test. The method
  is fixed-sequence testing (Angelopoulos et al., 2021, "Learn then Test: Calibrating Predictive Algorithms to Achieve
  Risk Control").
- A recall: the threshold lies at an order statistic of the scores of the class (Wilks, 1941, "Determination of Sample
  Sizes for Setting Tolerance Limits").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multimodal_algo.core.aims import CONFIDENCE, Aim, AimKind
from multimodal_algo.core.proportions import chance_of, least_rows, lower_bound
from multimodal_algo.core.threshold_curve import ThresholdCurve

# The first start may use this share of the 5 % chance of a broken promise. If it fails, other starts share the rest.
_OF_FIRST_START = 0.8
_OTHER_STARTS = (2, 4, 8)
# A threshold that no probability reaches.
_NEVER = float(np.nextafter(1.0, 2.0))


@dataclass(frozen=True)
class ChosenThreshold:
    """A threshold, and counts of the held-out rows on which it was chosen.

    Parameters
    ----------
    threshold
        The threshold.
    reached, right
        Number of rows that reach the threshold, and number of right rows among these.
    positives, rows
        Number of rows that should reach the threshold, and number of all rows.
    is_promised
        Whether the wanted share can be promised. None if the user asked for no promise.
    """

    threshold: float
    reached: int
    right: int
    positives: int
    rows: int
    is_promised: bool | None = None

    @property
    def precision(self) -> float:
        """The share of right rows among those that reach the threshold. NaN if no row reaches it."""
        return self.right / self.reached if self.reached else float("nan")

    @property
    def recall(self) -> float:
        """The share of right rows among those that should reach the threshold. NaN without such rows."""
        return self.right / self.positives if self.positives else float("nan")

    @property
    def flagged(self) -> float:
        """The share of all rows that reach the threshold. NaN without rows."""
        return self.reached / self.rows if self.rows else float("nan")

    @property
    def least_precision(self) -> float:
        """The lower bound of the precision on new rows, with 95 % confidence."""
        return float(lower_bound(np.array([self.right]), np.array([self.reached]), CONFIDENCE)[0])

    @property
    def least_recall(self) -> float:
        """The lower bound of the recall on new rows, with 95 % confidence."""
        return float(lower_bound(np.array([self.right]), np.array([self.positives]), CONFIDENCE)[0])


def choose_threshold(curve: ThresholdCurve, aim: Aim) -> ChosenThreshold:
    """Choose the threshold that an aim asks for.

    If these rows cannot support a promised precision, choose the threshold with the greatest lower bound of the
    precision. If they cannot support a promised recall, choose the greatest threshold with the best possible recall.
    """
    if aim.kind is AimKind.NUMBER:
        return _chosen(curve, aim.value)
    if not len(curve):
        return _chosen(curve, 1.0, is_promised=False if aim.kind.is_promise else None)
    if aim.kind is AimKind.PRECISION:
        return share_of_right(curve, aim.value)
    if aim.kind is AimKind.RECALL:
        return _recall(curve, aim.value)
    wrong, missed = curve.reached - curve.right, curve.positives - curve.right
    if aim.kind is AimKind.F1:
        return _chosen(curve, curve.thresholds[np.argmax(2 * curve.right / (curve.reached + curve.positives))])
    costs = aim.false_positive * wrong + aim.false_negative * missed
    if costs.min() >= aim.false_negative * curve.positives:
        return _chosen(curve, _NEVER)
    return _chosen(curve, curve.thresholds[np.argmin(costs)])


def share_of_right(curve: ThresholdCurve, share: float) -> ChosenThreshold:
    """Choose the lowest threshold for which this share of right rows can be promised. The module has the method."""
    if not len(curve):
        return _chosen(curve, 1.0, is_promised=False)
    risk = 1 - CONFIDENCE
    chances = chance_of(curve.right, curve.reached, share)
    start = _start(curve, share)
    if start is not None:
        failing = np.flatnonzero(chances[start:] > _OF_FIRST_START * risk)
        passed = int(failing[0]) if len(failing) else len(chances) - start
        if passed:
            return _chosen(curve, curve.thresholds[start + passed - 1], is_promised=True)
        for divisor in _OTHER_STARTS:
            other = int(np.searchsorted(curve.reached, curve.reached[start] / divisor))
            if chances[other] <= (1 - _OF_FIRST_START) * risk / len(_OTHER_STARTS):
                return _chosen(curve, curve.thresholds[other], is_promised=True)
    best = int(np.argmax(lower_bound(curve.right, curve.reached, CONFIDENCE)))
    return _chosen(curve, curve.thresholds[best], is_promised=False)


def _start(curve: ThresholdCurve, share: float) -> int | None:
    """Return the index of the candidate whose scores make it likeliest to pass. None if too few rows reach any."""
    first = int(np.searchsorted(curve.reached, least_rows(share, 1 - _OF_FIRST_START * (1 - CONFIDENCE))))
    if first == len(curve):
        return None
    reached = curve.reached[first:]
    margin = (curve.expected[first:] / reached - share) * np.sqrt(reached)
    return first + int(np.argmax(margin))


def _recall(curve: ThresholdCurve, share: float) -> ChosenThreshold:
    """Choose the greatest threshold for which this recall can be promised. The module has the method."""
    from scipy.special import bdtr

    missed = np.arange(curve.positives + 1)
    # With this number of missed rows among the positives, the chance that the recall is lower is at most 5 %.
    may_miss = int(np.searchsorted(bdtr(missed, curve.positives, 1 - share), 1 - CONFIDENCE, side="right")) - 1
    enough = np.flatnonzero(curve.right >= curve.positives - may_miss)
    if may_miss >= 0 and len(enough):
        return _chosen(curve, curve.thresholds[enough[0]], is_promised=True)
    return _chosen(curve, curve.thresholds[np.argmax(curve.right)], is_promised=False)


def _chosen(curve: ThresholdCurve, threshold: float, *, is_promised: bool | None = None) -> ChosenThreshold:
    if is_promised and threshold <= curve.thresholds[-1] and curve.reached[-1] == curve.rows:
        threshold = 0.0  # new rows below all of these rows reach it as well
    return ChosenThreshold(float(threshold), *curve.at(threshold), curve.positives, curve.rows, is_promised)
