"""Labels that a job cannot learn are refused after the first read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multimodal_algo.config.decisions import read_settings
from multimodal_algo.core import label_checks
from multimodal_algo.core.aims import DecisionSettings
from multimodal_algo.core.label_checks import LabelSettings, branch_count, decision_warnings, label_problems
from multimodal_algo.core.schema import FeatureSchema

SCHEMA = FeatureSchema(("label", "a_text", "b_num", "c_cat", "d_image"))
TWO = {"p": 10, "q": 10}
THREE = TWO | {"r": 10}
NUMBERS = {f"{n * 1.7}": 1 for n in range(50)}


@pytest.mark.parametrize(
    ("counts", "settings", "message"),
    [
        (THREE, LabelSettings("binary"), "problem_type is binary, but there are 3 different labels, not 2."),
        (TWO, LabelSettings(eval_metric="rmse"), "eval_metric is rmse, but the labels ask for binary"),
        (NUMBERS, LabelSettings(eval_metric="accuracy"), "eval_metric is accuracy, but the labels ask for regression"),
        (
            TWO,
            LabelSettings(class_weights={"pp": 2.0}),
            "class_weights names 'pp', which is not a label of the data. Did",
        ),
        (NUMBERS, LabelSettings(decisions=DecisionSettings(abstain_below=0.5)), "but the labels are numbers."),
        (TWO, LabelSettings(decisions=DecisionSettings("pp")), "positive_class is 'pp', which is not a label"),
        (NUMBERS, LabelSettings(class_weights="balanced"), "class_weights is set, but the labels are numbers"),
    ],
)
def test_hyperparameters_that_do_not_suit_the_labels_are_named(
    counts: dict[str, int], settings: LabelSettings, message: str
) -> None:
    (problem,) = label_problems(counts, SCHEMA, settings)
    assert message in problem


@pytest.mark.parametrize(
    ("counts", "settings"),
    [
        (TWO, LabelSettings()),
        (TWO, LabelSettings("binary", "log_loss", {"p": 2.0})),
        (THREE, LabelSettings(class_weights="balanced", eval_metric="accuracy")),
        (NUMBERS, LabelSettings(eval_metric="mae")),
        # The classes of the previous model stay, also those without a row.
        (TWO, LabelSettings("binary", class_weights={"r": 2.0}, known_classes=("p", "q", "r"))),
        ({f"class {n}": 10 for n in range(2000)}, LabelSettings()),
        ({str(n): 10 for n in range(2000)}, LabelSettings("multiclass")),
    ],
)
def test_labels_that_can_be_learnt_have_no_problem(counts: dict[str, int], settings: LabelSettings) -> None:
    assert label_problems(counts, SCHEMA, settings) == []


def test_a_rare_class_is_a_warning() -> None:
    [warning] = decision_warnings({"no": 90, "yes": 10}, DecisionSettings())
    assert "90.0% of the rows are of 'no', so that accuracy says little: 'yes' has 10 of 100 rows" in warning
    [warning] = decision_warnings({"a": 80, "b": 10, "c": 10}, DecisionSettings())
    assert "the other 2 classes have 20 of 100 rows" in warning
    assert decision_warnings({"a": 79, "b": 21}, DecisionSettings()) == []
    assert decision_warnings({"a": 10}, DecisionSettings()) == []


def test_a_promise_that_needs_more_rows_is_a_warning() -> None:
    settings = read_settings("", "recall>=0.9", 0, 0, "__review__")
    [warning] = decision_warnings({"no": 40, "yes": 28}, settings)
    assert warning.startswith(
        "decision_threshold: recall>=0.9 cannot be promised for 'yes', which has 28 rows. It needs"
    )
    assert decision_warnings({"no": 40, "yes": 29}, settings) == []
    assert decision_warnings({"no": 40, "yes": 28}, replace(settings, positive_class="no")) == []


def test_the_limit_of_classes_follows_from_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {f"class {n}": 10 for n in range(2000)}
    needed = 20_000 * branch_count(SCHEMA) * 2001 * 4
    monkeypatch.setattr(label_checks, "available_bytes", lambda: 2 * needed)
    assert label_problems(counts, SCHEMA, LabelSettings()) == []
    monkeypatch.setattr(label_checks, "available_bytes", lambda: 2 * needed - 1)
    (problem,) = label_problems(counts, SCHEMA, LabelSettings())
    assert "2,000 classes" in problem
    assert f"(20,000 x {branch_count(SCHEMA)} x 2,001 x 4 bytes)" in problem
    assert f"{needed / 1e9:.1f} GB" in problem
    assert "Merge the rarest classes" in problem


@pytest.mark.parametrize(
    ("columns", "count"), [(("a_text",), 2), (("a_text", "b_num"), 4), (("b_num", "c_cat"), 3), (SCHEMA.features, 7)]
)
def test_branches_are_counted_as_the_registry_declares_them(columns: tuple[str, ...], count: int) -> None:
    from multimodal_algo.branches.registry import new_models
    from multimodal_algo.config.recipes import RECIPES
    from multimodal_algo.core.task import Task

    schema = FeatureSchema(("label", *columns))
    assert branch_count(schema) == count
    assert len(new_models(schema, Task.of_classes(3), tuple(RECIPES["default"].models))) == count
