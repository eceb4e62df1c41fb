"""Aims of thresholds are read from hyperparameters, and refused where they do not suit the classes."""

from __future__ import annotations

import pytest

from multimodal_algo.config.decisions import parse_aims, read_settings
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.aims import Aim, AimKind, DecisionSettings
from multimodal_algo.core.errors import UserError

TWO, THREE = ("no", "yes"), ("a", "b", "c")


@pytest.mark.parametrize(
    ("text", "aim"),
    [
        ("0.3", Aim(AimKind.NUMBER, "0.3", 0.3)),
        ("F1", Aim(AimKind.F1, "F1")),
        ("precision>=0.95", Aim(AimKind.PRECISION, "precision>=0.95", 0.95)),
        ("Recall >= 90%", Aim(AimKind.RECALL, "recall>=0.9", 0.9)),
        (
            'cost:{"false_positive":1,"false_negative":20}',
            Aim(AimKind.COST, 'cost:{"false_positive":1,"false_negative":20}', 0, 1, 20),
        ),
    ],
)
def test_an_aim_has_several_forms(text: str, aim: Aim) -> None:
    assert parse_aims(text, "decision_threshold") == aim
    assert parse_aims(f'{{"rare": {text if text == "0.3" else repr(text)}}}', "decision_threshold") == {"rare": aim}


def test_nothing_means_no_aim() -> None:
    assert parse_aims(" ", "decision_threshold") is None
    assert not HyperParameters.parse({}).decisions.decides


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.2", "it must be a number from 0 to 1, f1,"),
        ("often", "it must be a number from 0 to 1, f1,"),
        ("{}", "it must be a number from 0 to 1, f1,"),
        ('{"rare": true}', "it must be a number from 0 to 1, f1,"),
        ("precision>=1", "a precision that is promised must be between 0 and 1"),
        ("precision>=0.9.5", "it must be a number from 0 to 1, f1,"),
        ('cost:{"false_positive":1}', "a cost has the keys false_positive and false_negative"),
        ('cost:{"false_positive":0,"false_negative":1}', "with numbers above 0"),
        ("cost:2", "must be a JSON object"),
    ],
)
def test_other_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        HyperParameters.parse({"decision_threshold": text})


@pytest.mark.parametrize(
    ("settings", "classes", "message"),
    [
        (read_settings("maybe", "", 0, 0, "x"), TWO, "positive_class is 'maybe', which is not a label of the data"),
        (read_settings("a", "", 0, 0, "x"), THREE, "which needs two classes, but there are 3"),
        (read_settings("", "f1", 0, 0, "x"), (), "but the labels are numbers"),
        (read_settings("", "f1", 0, 0, "x"), THREE, "decision_threshold=f1 is for one class, but there are 3"),
        (read_settings("", '{"yess": 0.2}', 0, 0, "x"), TWO, "names 'yess', .* Did you mean 'yes'?"),
        (read_settings("", "", 0.5, 0.9, "x"), TWO, "both set the least probability"),
        (read_settings("", "f1", 0, 0.9, "x"), TWO, "neither promise would hold"),
        (read_settings("", "", 0.5, 0, "yes"), TWO, "review_label is 'yes', which is a label of the data"),
        (read_settings("", '{"yes": 0.5, "no": 0.5}', 0, 0, "no"), TWO, "review_label is 'no'"),
    ],
)
def test_settings_that_do_not_suit_the_classes_are_refused(
    settings: DecisionSettings, classes: tuple[str, ...], message: str
) -> None:
    problem = settings.problem(classes)
    assert problem is not None
    with pytest.raises(UserError, match=message):
        raise UserError(problem)


def test_aims_belong_to_the_positive_class_or_to_every_class() -> None:
    assert read_settings("", "0.3", 0, 0, "x").aims_by_index(TWO, 1).keys() == {1}
    assert read_settings("", "0.3", 0, 0, "x").aims_by_index(THREE, 1).keys() == {0, 1, 2}
    assert read_settings("", '{"1.0": 0.3}', 0, 0, "x").aims_by_index(("0", "1"), 0).keys() == {1}
    assert read_settings("", "0.3", 0, 0, "yes").problem(TWO) is None, "no row is left to a person"
