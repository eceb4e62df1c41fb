from __future__ import annotations

from collections import Counter

import pytest

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.labels import Target, detect_problem_type


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["yes", "no"] * 20, "binary"),
        (["0", "1"] * 20, "binary"),
        (["3.5", "7.25"] * 20, "binary"),
        (["a", "b", "c"] * 20, "multiclass"),
        ([str(n) for n in range(100)] * 2, "multiclass"),  # class numbers without a gap, however few rows each has
        ([str(n) for n in range(1, 6)] * 20, "multiclass"),
        ([str(n * 7) for n in range(5)] * 20, "multiclass"),  # few numbers, many rows
        ([f"{n:04d}" for n in range(0, 400, 4)], "multiclass"),  # codes
        ([str(n * n) for n in range(100)], "regression"),
        ([f"{n / 7:.3f}" for n in range(100)], "regression"),
        (["1.5", "2.5", "3.5"] * 40, "regression"),
        (["1e3", "2.5e-1", "-7"] * 40, "regression"),
        (["1_000", "2_000", "3_000"] * 9, "multiclass"),
        (["nan", "1.5", "2.5", "7.5"] * 9, "multiclass"),
    ],
)
def test_the_labels_tell_what_is_predicted(labels: list[str], expected: str) -> None:
    assert detect_problem_type(Counter(labels)) == expected


def test_classes_keep_their_spelling_and_order() -> None:
    target = Target.of(["b", "a", "10", "b", "9"], "auto")
    assert target.classes == ("10", "9", "a", "b")
    assert target.values.tolist() == [3, 2, 0, 3, 1]
    assert target.values_of(["9", "c"]).tolist() == [1, -1]


def test_numbers_can_be_asked_for_and_refused() -> None:
    assert Target.of(["1", "2", "3"], "regression").values.tolist() == [1.0, 2.0, 3.0]
    assert Target.of(["1.5", "2.5", "7"], "multiclass").classes == ("1.5", "2.5", "7")
    with pytest.raises(UserError, match=r"label 'x' \(row 2\) is not a number"):
        Target.of(["1", "x"], "regression")
    with pytest.raises(UserError, match="3 different labels"):
        Target.of(["1", "2", "3"], "binary")


def test_the_number_of_classes_has_no_fixed_limit() -> None:
    assert len(Target.of([f"class {n}" for n in range(2000)] * 10, "auto").classes) == 2000


def test_spellings_of_one_label_are_one_class() -> None:
    target = Target.of(["1", "1.0", "2", "1.0"], "auto")
    assert target.classes == ("1.0", "2")
    assert target.task.problem_type == "binary"
    assert target.values.tolist() == [0, 0, 1, 0]
    assert target.values_of(["1", "1e0", "2.0", "3", "x"]).tolist() == [0, 0, 1, -1, -1]
    assert Target.of(["True", "false", "TRUE", "False"], "auto").task.problem_type == "binary"
    assert Target.of(["01", "1", "1.0"], "multiclass").classes == ("01", "1")


def test_classes_of_a_previous_model_keep_their_names() -> None:
    target = Target.of(["1.0", "2.0", "1.0"], "auto", classes=("1", "2", "3"))
    assert target.classes == ("1", "2", "3")
    assert target.present == ("1", "2")
    assert Target.of(["1.0", "4"], "multiclass", classes=("1", "2")).classes == ("1", "4")


def test_the_positive_class_is_the_rarer_one_or_the_one_that_is_named() -> None:
    target = Target.of(["yes", "no", "no"], "auto")
    assert target.with_positive("").positive_class == "yes"
    assert target.with_positive("no").task.positive == 0
    assert Target.of(["yes", "no", "no", "yes", "yes"], "auto").with_positive("").positive_class == "no"
    assert Target.of(["yes", "no"], "auto").with_positive("").positive_class == "yes", "the second of equal ones"
    assert Target.of(["1.0", "2.0", "2.0"], "auto").with_positive("2").positive_class == "2.0"
    assert Target.of(["a", "b", "c"], "auto").with_positive("").positive_class is None
    with pytest.raises(UserError, match="positive_class is 'maybe', which is not a label of the data"):
        target.with_positive("maybe")
