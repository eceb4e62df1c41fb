from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_algo.core.values import (
    are_numbers,
    category_value,
    classes_of,
    cut_zeros,
    in_number_column,
    is_code,
    near_spellings,
    number_value,
    rows_by_class,
    trimmed,
)


@pytest.mark.parametrize(
    ("spellings", "value"),
    [
        (["1", "1.0", "1e0", "+1", "1.", "1.000", "10e-1", "0.1E1"], "1"),
        (["-2.5", "-2.50", "-25e-1"], "-2.5"),
        (["0", "-0", "0.0", "0e7"], "0"),
        (["1000000", "1e6", "1000000.0"], "1000000"),
        (["9007199254740993", "9007199254740993.0"], "9007199254740993"),  # 2**53 + 1, which is no float
        (["0.1", ".1", "1e-1"], "0.1"),
        (["1e300", "10e299"], "1E+300"),
    ],
)
def test_a_number_has_one_spelling(spellings: list[str], value: str) -> None:
    assert {number_value(spelling) for spelling in spellings} == {value}


@pytest.mark.parametrize(
    "text", ["01", "007.5", "-01", "1,5", "1_000", "0x10", "inf", "nan", "", "1 2", "one", "\u0661", "1e99999"]
)
def test_what_is_not_a_number_has_no_spelling_of_one(text: str) -> None:
    assert number_value(text) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_all_spellings_of_a_float_are_one_value(number: float) -> None:
    assert number_value(repr(number)) == number_value(repr(number).upper())
    spelled = number_value(repr(number))
    assert spelled is not None
    assert float(spelled) == number


def test_a_column_of_numbers_may_hold_codes_but_no_words() -> None:
    assert are_numbers(["1", "2.0", "", "1e3"])
    assert are_numbers(["1", "01"])
    assert not are_numbers(["1", "1.0", "beta"])
    assert not are_numbers(["01", "02"])
    assert not are_numbers(["", ""])
    assert is_code("01")
    assert not is_code("0a")
    assert are_numbers(["1.0", "NaN", "nan"])  # polars, DuckDB and Arrow write it for a missing float
    assert [in_number_column(value) for value in ("01", "1.0", "", "NaN", "nan")] == ["01", "1", "", "", ""]


@pytest.mark.parametrize("cell", ["True", "TRUE", "true", " tRue "])
def test_a_boolean_has_one_spelling(cell: str) -> None:
    assert category_value(cell) == "true"
    assert category_value("1") == "1"
    assert category_value("truer") == "truer"


@pytest.mark.parametrize(
    ("cells", "value"),
    [
        (["2024-01-02T03:04:05", "2024-01-02 03:04:05.000000", "2024-01-02 03:04:05"], "2024-01-02 03:04:05"),
        (["2024-01-02T00:00:00.000", "2024-01-02 00:00:00", "2024-01-02"], "2024-01-02"),
        (["2024-01-02T03:04:05.120Z", "2024-01-02 03:04:05.12+00:00"], "2024-01-02 03:04:05.12+00:00"),
        (["2024-01-02 03:04:05+0200"], "2024-01-02 03:04:05+02:00"),
    ],
)
def test_a_timestamp_has_one_spelling(cells: list[str], value: str) -> None:
    assert {category_value(cell) for cell in cells} == {value}


@given(st.text())
def test_forms_are_stable(text: str) -> None:
    for form in (trimmed, category_value):
        once = form(text)
        assert form(once) == once
        assert form(f" \t{unicodedata.normalize('NFD', text)}\u00a0") == once


def test_classes_have_the_spelling_of_most_rows() -> None:
    assert classes_of({"1": 5, "1.0": 9, "2": 3}) == {"1": "1.0", "1.0": "1.0", "2": "2"}
    assert classes_of({"True": 1, "TRUE": 2, "no": 3}) == {"True": "TRUE", "TRUE": "TRUE", "no": "no"}
    assert classes_of({"1": 5, "1.0": 9, "beta": 3}) == {"1": "1", "1.0": "1.0", "beta": "beta"}
    assert classes_of({"01": 1, "1": 2, "1.0": 1}) == {"01": "01", "1": "1", "1.0": "1"}
    assert classes_of({"1.0": 9, "2": 1}, classes=["1", "2", "3"]) == {"1.0": "1", "2": "2"}
    assert rows_by_class({"1": 5, "1.0": 9, "2": 3}) == {"1.0": 14, "2": 3}


def test_what_might_be_meant_as_one_value_is_listed() -> None:
    assert near_spellings(["Good", "bad", "good"]) == [("Good", "good")]
    assert near_spellings(["a b", "a  b", "ab"]) == [("a b", "a  b"), ("a b", "ab")]
    assert near_spellings(["cat", "\u0441at"]) == [("cat", "\u0441at")]
    assert near_spellings(["1", "1.0", "beta"]) == [("1", "1.0")]
    assert near_spellings(["one", "two"]) == []
    assert cut_zeros(["1.1", "1.10", "2"]) == ("1.1", "1.10")
    assert cut_zeros(["1.0", "1", "1.00", "2.5"]) is None
