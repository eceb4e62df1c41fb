"""Served rules: those of the artifact, and those that the environment gives instead."""

from __future__ import annotations

import numpy as np
import pytest

from multimodal_algo.config.decision_entry import DecisionEntry
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.threshold_curve import ThresholdCurve
from multimodal_algo.serving.deciding import Decider
from multimodal_algo.serving.loaded_model import RowAnswer

CLASSES = ("no", "yes")
SCORES = np.linspace(0.001, 0.999, 500)
YES = ThresholdCurve.of(SCORES, SCORES > 0.5, 250)
ANSWERS = ThresholdCurve.of(SCORES, SCORES > 0.1, 500)
ENTRY = DecisionEntry(
    positive_class="yes", thresholds={"yes": 0.2}, abstain_below=0.0, review_label="__review__",
    curves={"": ANSWERS.as_dict(), "yes": YES.as_dict(), "no": YES.as_dict()},
)  # fmt: skip
NONE = ENTRY.model_copy(update={"thresholds": {}})


def decider(entry: DecisionEntry | None = ENTRY, **variables: str) -> Decider | None:
    return Decider.of(entry, CLASSES, variables)


def answers(of: Decider | None) -> list[str]:
    assert of is not None
    return of.labels(np.array([[0.7, 0.3], [0.9, 0.1], [0.45, 0.55]]))[0]


def test_the_artifact_has_the_rule() -> None:
    assert answers(decider()) == ["yes", "no", "yes"]
    assert decider(NONE) is None
    assert decider(None) is None


def test_the_environment_overrides_it() -> None:
    assert answers(decider(DECISION_THRESHOLD="0.5")) == ["no", "no", "yes"]
    assert answers(decider(DECISION_THRESHOLD='{"no": 0.8}')) == ["yes", "no", "yes"]
    assert answers(decider(DECISION_THRESHOLD="none", ABSTAIN_BELOW="0.6")) == ["no", "no", "__review__"]
    assert answers(decider(ABSTAIN_BELOW="0.4", REVIEW_LABEL="bitte")) == ["bitte", "no", "yes"]
    assert decider(DECISION_THRESHOLD="none") is None


def test_promises_are_chosen_from_the_held_out_rows_of_the_training_job() -> None:
    promised = decider(DECISION_THRESHOLD="precision>=0.9")
    assert promised is not None
    assert 0.4 < promised.rule.thresholds[1] < 0.55
    target = decider(NONE, TARGET_ACCURACY="0.95")
    assert target is not None
    assert 0.0 < target.rule.abstain_below < 0.1


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"DECISION_THRESHOLD": "often"}, "DECISION_THRESHOLD is 'often': it must be a number"),
        ({"DECISION_THRESHOLD": '{"maybe": 0.5}'}, "DECISION_THRESHOLD names 'maybe'"),
        ({"DECISION_THRESHOLD": "precision>=0.999"}, "which the 500 held-out rows of the training job cannot promise"),
        ({"DECISION_THRESHOLD": '{"no": "f1", "yes": "f1"}'}, "can choose for one class at a time"),
        ({"ABSTAIN_BELOW": "70"}, "ABSTAIN_BELOW is '70': it must be a number from 0 to 1"),
        ({"ABSTAIN_BELOW": "0.5", "TARGET_ACCURACY": "0.9"}, "both set the least probability of an answer"),
        ({"TARGET_ACCURACY": "0.9"}, "TARGET_ACCURACY is below 1, and for a model without thresholds of its own"),
        ({"ABSTAIN_BELOW": "0.5", "REVIEW_LABEL": "no"}, "review_label is 'no', which is a label of the data"),
    ],
)
def test_what_does_not_suit_is_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        decider(**variables)


def test_a_model_of_numbers_has_no_thresholds() -> None:
    with pytest.raises(UserError, match="ABSTAIN_BELOW is set, but this model predicts numbers"):
        decider(None, ABSTAIN_BELOW="0.5")


def test_answers_get_a_guess_and_whether_a_person_should_look() -> None:
    of = decider(ABSTAIN_BELOW="0.4")
    assert of is not None
    decided = of.decide([RowAnswer(np.array([0.7, 0.3])), RowAnswer(np.array([0.9, 0.1]))])
    assert [(row.guess, row.is_reviewed) for row in decided] == [(1, True), (0, False)]
    assert of.decide([]) == []
