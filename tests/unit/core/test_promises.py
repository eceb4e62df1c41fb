"""Thresholds that are chosen on held-out rows: exact on small counts, and promises hold on new rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import beta

from multimodal_algo.core.aims import Aim, AimKind
from multimodal_algo.core.promises import ChosenThreshold, choose_threshold, share_of_right
from multimodal_algo.core.proportions import interval, least_rows, lower_bound
from multimodal_algo.core.threshold_curve import ThresholdCurve

SCORES = np.array([0.9, 0.8, 0.8, 0.6, 0.4, 0.2])
IS_CLASS = np.array([True, True, False, True, False, False])
CURVE = ThresholdCurve.of(SCORES, IS_CLASS, 3)


def drawn(rows: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are calibrated, and whether each row is of the class."""
    is_class = generator.random(rows) < 0.2
    return expit(3 * generator.normal(is_class * 3.0, 1.0) - 4.5 + np.log(0.25)), is_class


def of(scores: np.ndarray, is_class: np.ndarray) -> ThresholdCurve:
    return ThresholdCurve.of(scores, is_class, int(is_class.sum()))


def test_a_curve_counts_the_rows_that_reach_each_candidate() -> None:
    assert CURVE.thresholds == pytest.approx([0.85, 0.7, 0.5, 0.3, 0.2])
    assert CURVE.reached.tolist() == [1, 3, 4, 5, 6]
    assert CURVE.right.tolist() == [1, 2, 3, 3, 3]
    assert [CURVE.at(threshold) for threshold in (0.95, 0.85, 0.75, 0.1)] == [(0, 0), (1, 1), (1, 1), (6, 3)]


def test_rows_with_a_negative_score_reach_nothing() -> None:
    curve = ThresholdCurve.of(np.array([0.9, -1.0]), np.array([True, True]), 2)
    assert (curve.reached.tolist(), curve.rows) == ([1], 2)
    assert len(ThresholdCurve.of(np.array([-1.0]), np.array([True]), 1)) == 0


def test_a_curve_is_stored_whole() -> None:
    curve = of(*drawn(5000, np.random.default_rng(0))).thinned(200)
    assert len(curve) == 200
    again = ThresholdCurve.from_dict(curve.as_dict())
    for aim in (Aim(AimKind.PRECISION, "", 0.9), Aim(AimKind.RECALL, "", 0.9), Aim(AimKind.F1, "")):
        assert choose_threshold(again, aim) == choose_threshold(curve, aim)


@pytest.mark.parametrize(
    ("aim", "threshold"),
    [
        (Aim(AimKind.NUMBER, "", 0.33), 0.33),
        (Aim(AimKind.F1, ""), 0.5),
        (Aim(AimKind.COST, "", false_positive=1, false_negative=20), 0.5),
        (Aim(AimKind.COST, "", false_positive=20, false_negative=1), 0.85),
    ],
)
def test_thresholds_without_a_promise(aim: Aim, threshold: float) -> None:
    chosen = choose_threshold(CURVE, aim)
    assert chosen.threshold == pytest.approx(threshold)
    assert chosen.is_promised is None


def test_nothing_is_flagged_where_that_costs_least() -> None:
    curve = ThresholdCurve.of(np.array([0.9, 0.5]), np.array([False, True]), 1)
    chosen = choose_threshold(curve, Aim(AimKind.COST, "", false_positive=9, false_negative=1))
    assert chosen.threshold > 1
    assert (chosen.reached, chosen.threshold) == (0, pytest.approx(1))


def test_few_rows_promise_nothing() -> None:
    for kind in (AimKind.PRECISION, AimKind.RECALL):
        chosen = choose_threshold(CURVE, Aim(kind, "", 0.9))
        assert chosen.is_promised is False
    assert choose_threshold(CURVE, Aim(AimKind.RECALL, "", 0.9)).recall == 1
    assert least_rows(0.9, 0.95) == 29


def test_a_recall_needs_29_rows_for_90_percent() -> None:
    for rows, is_promised in ((28, False), (29, True)):
        scores = np.linspace(0.1, 0.9, rows)
        chosen = choose_threshold(of(scores, np.ones(rows, dtype=bool)), Aim(AimKind.RECALL, "", 0.9))
        assert chosen.is_promised is is_promised
        assert chosen.reached == rows


def test_everything_is_answered_where_that_is_right_often_enough() -> None:
    right = np.random.default_rng(0).random(1000) < 0.97
    chosen = share_of_right(ThresholdCurve.of(np.full(1000, 0.97), right, 1000), 0.9)
    assert (chosen.threshold, chosen.reached, chosen.is_promised) == (0.0, 1000, True)


def test_bounds_are_those_of_clopper_and_pearson() -> None:
    right, rows = np.array([0, 3, 10]), np.array([10, 10, 10])
    low, high = interval(right, rows)
    assert low[1] == pytest.approx(beta.ppf(0.025, 3, 8))
    assert high[1] == pytest.approx(beta.ppf(0.975, 4, 7))
    assert (low[0], high[2]) == (0, 1)
    assert lower_bound(right, rows, 0.95)[2] == pytest.approx(0.05**0.1)


@pytest.mark.parametrize(("kind", "least"), [(AimKind.PRECISION, 0.9), (AimKind.RECALL, 0.9)])
def test_promises_hold_on_new_rows(kind: AimKind, least: float) -> None:
    generator = np.random.default_rng(0)
    truth = of(*drawn(300_000, generator))
    chosen = [choose_threshold(of(*drawn(800, generator)), Aim(kind, "", least)) for _ in range(300)]
    promised = [each for each in chosen if each.is_promised]
    assert len(promised) > 0.9 * len(chosen)
    assert sum(true_share(each, truth, kind) < least for each in promised) <= 0.07 * len(chosen)


def true_share(chosen: ChosenThreshold, truth: ThresholdCurve, kind: AimKind) -> float:
    reached, right = truth.at(chosen.threshold)
    return right / (reached if kind is AimKind.PRECISION else truth.positives)
