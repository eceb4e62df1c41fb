"""Rules that are chosen on held-out rows: binary, several classes, abstention, and what the report makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from multimodal_algo.config.decisions import read_settings
from multimodal_algo.core.aims import DecisionSettings
from multimodal_algo.fusion.decisions import ChosenRule, HeldOutProbabilities, choose_rule


def rows(classes: int, count: int = 3000, seed: int = 0) -> HeldOutProbabilities:
    """Calibrated probabilities. Of two classes, one row in ten is of the second."""
    generator = np.random.default_rng(seed)
    prior = np.array([0.9, 0.1]) if classes == 2 else np.full(classes, 1 / classes)
    targets = generator.choice(classes, count, p=prior)
    points = generator.normal(0, 1, (count, classes)) + 2.5 * np.eye(classes)[targets]
    likelihoods = prior * np.exp(2.5 * points)
    probabilities = (likelihoods / likelihoods.sum(axis=1, keepdims=True)).astype(np.float32)
    return HeldOutProbabilities(probabilities, targets, "abcdefgh"[:classes])


def settings(threshold: str = "", abstain_below: float = 0, target: float = 0) -> DecisionSettings:
    return read_settings("", threshold, abstain_below, target, "__review__")


def measured(chosen: ChosenRule, new: HeldOutProbabilities, label: int) -> tuple[float, float]:
    """Precision and recall of a class on new rows."""
    decisions = chosen.rule.apply(new.probabilities)
    answered = (decisions.guesses == label) & ~decisions.is_reviewed
    right = (answered & (new.targets == label)).sum()
    return right / answered.sum(), right / (new.targets == label).sum()


def test_without_settings_the_likeliest_class_is_answered() -> None:
    chosen = choose_rule(settings(), rows(3))
    decisions = chosen.rule.apply(chosen.rows.probabilities)
    np.testing.assert_array_equal(decisions.guesses, chosen.rows.probabilities.argmax(axis=1))
    assert not decisions.is_reviewed.any()
    assert not list(chosen.sentences())


@pytest.mark.parametrize(("threshold", "share", "least"), [("precision>=0.9", 0, 0.9), ("recall>=0.8", 1, 0.8)])
def test_two_classes_have_a_threshold_of_the_positive_one(threshold: str, share: int, least: float) -> None:
    chosen = choose_rule(settings(threshold), rows(2))
    assert chosen.rule.thresholds.keys() == {1}
    assert chosen.positive_class == "b"
    assert measured(chosen, rows(2, 50_000, seed=1), 1)[share] >= least
    [(is_warning, sentence)] = chosen.sentences()
    assert not is_warning
    assert sentence.startswith("'b' is answered from probability 0.")
    assert f"which promises {threshold} with 95 % confidence" in sentence


def test_each_of_several_classes_keeps_its_promise() -> None:
    chosen = choose_rule(settings('{"a": "precision>=0.9", "c": "precision>=0.8"}'), rows(4))
    new = rows(4, 50_000, seed=1)
    assert measured(chosen, new, 0)[0] >= 0.9
    assert measured(chosen, new, 2)[0] >= 0.8
    assert not chosen.rule.may_review(4)
    every = [choose_rule(settings("precision>=0.97"), rows(4, seed=seed)) for seed in range(2, 12)]
    assert all(chosen.rule.may_review(4) for chosen in every)
    precisions = [measured(chosen, new, label)[0] for chosen in every for label in range(4)]
    assert sum(precision < 0.97 for precision in precisions) <= 0.05 * len(precisions)


def test_a_promise_that_cannot_be_made_is_a_warning() -> None:
    chosen = choose_rule(settings("precision>=0.99"), rows(2, 200))
    [(is_warning, sentence)] = chosen.sentences()
    assert is_warning
    assert sentence.startswith("precision>=0.99 cannot be promised with these rows. 'b' is answered from")
    assert chosen.as_dict()["thresholds"]["b"]["promised"] is False


def test_a_target_accuracy_leaves_rows_to_a_person() -> None:
    chosen = choose_rule(settings(target=0.95), rows(4))
    new = rows(4, 50_000, seed=1)
    decisions = chosen.rule.apply(new.probabilities)
    right = (decisions.guesses == new.targets)[~decisions.is_reviewed]
    assert right.mean() >= 0.95 > (decisions.guesses == new.targets).mean()
    assert len(right) > 0.6 * len(new.targets)
    figures = chosen.as_dict()
    assert figures["target_is_promised"]
    assert figures["answered"] < figures["rows"]
    assert any("are answered with __review__" in sentence for _, sentence in chosen.sentences())


def test_a_least_probability_is_part_of_what_is_promised() -> None:
    chosen = choose_rule(settings("recall>=0.8", abstain_below=0.4), rows(2))
    assert measured(chosen, rows(2, 50_000, seed=1), 1)[1] >= 0.8
    assert chosen.rule.abstain_below == 0.4


def test_few_bytes_are_stored() -> None:
    curves = choose_rule(settings(), rows(8)).curves()
    assert set(curves) == {"", *"abcdefgh"}
    assert len(str(curves)) < 100_000
