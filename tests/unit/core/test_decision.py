"""The rule that turns probabilities into answers."""

from __future__ import annotations

import numpy as np

from multimodal_algo.core.decision import DecisionRule, scores_for

ROWS = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.1, 0.45, 0.45], [0.7, 0.1, 0.2]], dtype=np.float32)


def answers(rule: DecisionRule) -> list[int | None]:
    decisions = rule.apply(ROWS)
    return [None if reviewed else guess for guess, reviewed in zip(*map(list, vars(decisions).values()), strict=True)]


def test_without_thresholds_the_likeliest_class_is_answered() -> None:
    assert answers(DecisionRule({})) == [0, 1, 1, 0]
    assert not DecisionRule({}).may_review(3)


def test_a_class_is_answered_from_its_threshold_on() -> None:
    assert answers(DecisionRule({2: 0.3})) == [0, 2, 2, 0]
    assert answers(DecisionRule({2: float(ROWS[1, 2])})) == [0, 2, 2, 0], "a threshold is reached by itself"
    assert answers(DecisionRule({1: 0.6})) == [0, 2, 2, 0], "below it, the class is not answered"


def test_of_several_classes_with_a_threshold_the_likeliest_may_be_answered() -> None:
    assert answers(DecisionRule({1: 0.6, 2: 0.2})) == [0, 0, 0, 2]


def test_a_row_goes_to_a_person_where_no_threshold_is_reached() -> None:
    rule = DecisionRule({0: 0.6, 1: 0.5, 2: 0.5})
    assert answers(rule) == [None, 1, None, 0]
    assert rule.may_review(3)
    assert rule.apply(ROWS).guesses.tolist() == [0, 1, 1, 0]


def test_answers_below_a_probability_go_to_a_person() -> None:
    assert answers(DecisionRule({}, 0.5)) == [0, 1, None, 0]
    assert answers(DecisionRule({2: 0.3}, 0.4)) == [0, None, 2, 0]


def test_a_row_is_answered_with_a_class_exactly_where_its_score_reaches_the_threshold() -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(4), 2000).astype(np.float32)
    thresholds = {0: 0.2, 2: 0.4, 3: 0.7}
    decisions = DecisionRule(thresholds, 0.3).apply(rows)
    for label, threshold in thresholds.items():
        reaches = scores_for(label, rows, thresholds, 0.3) >= threshold
        np.testing.assert_array_equal(reaches, (decisions.guesses == label) & ~decisions.is_reviewed)
