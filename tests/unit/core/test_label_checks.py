"""Labels that a job cannot learn are refused after the first read."""

from __future__ import annotations

import pytest

from multimodal_algo.core import label_checks
from multimodal_algo.core.label_checks import LabelSettings, branch_count, label_problems
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
