"""Dates of cells become numbers, in every common form and by one rule for a column."""

from __future__ import annotations

import pytest

from multimodal_algo.core.column_names import ColumnNames
from multimodal_algo.core.dates import DateForm, forms_of, numbers_of

YMD, DMY, MDY = DateForm


@pytest.mark.parametrize(
    ("cell", "form", "numbers"),
    [
        ("1970-01-01", YMD, ("0", "1970", "1", "4")),
        ("2024-12-31", YMD, ("20088", "2024", "12", "2")),
        (" 2024/12/31 ", DMY, ("20088", "2024", "12", "2")),
        ("20241231", YMD, ("20088", "2024", "12", "2")),
        ("2024-12-31T18:00:00Z", MDY, ("20088.75", "2024", "12", "2")),
        ("2024-12-31 18:00:00.25+01:00", MDY, ("20088.75", "2024", "12", "2")),
        ("31.12.2024", DMY, ("20088", "2024", "12", "2")),
        ("31.12.2024 06:00", DMY, ("20088.25", "2024", "12", "2")),
        ("12/31/2024 6:00 PM", MDY, ("20088.75", "2024", "12", "2")),
        ("12/31/2024 12:00 am", MDY, ("20088", "2024", "12", "2")),
        ("1/2/2024", DMY, ("19754", "2024", "2", "4")),
        ("1/2/2024", MDY, ("19724", "2024", "1", "2")),
        ("31 Dec 2024", YMD, ("20088", "2024", "12", "2")),
        ("31-Dec-2024", YMD, ("20088", "2024", "12", "2")),
        ("December 31st, 2024", YMD, ("20088", "2024", "12", "2")),
        ("1950-06-30", YMD, ("-7125", "1950", "6", "5")),
    ],
)
def test_a_date_becomes_days_year_month_and_weekday(cell: str, form: DateForm, numbers: tuple[str, ...]) -> None:
    assert numbers_of(cell, form) == numbers


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "n/a",
        "soon",
        "2024",
        "202412",
        "2024-13-01",
        "2023-02-29",
        "12/31/2024",
        "31.12.24",
        "31 Foo 2024",
        "1 25:00",
    ],
)
def test_what_is_not_a_date_of_the_form_is_empty(cell: str) -> None:
    assert numbers_of(cell, DMY) == ("", "", "", "")


@pytest.mark.parametrize(
    ("cells", "forms"),
    [
        (["2024-12-31", "2023-01-02"], (YMD,)),
        (["31.12.2024", "01.02.2024"], (DMY,)),
        (["01.02.2024", "02.03.2024"], (DMY,)),  # dots are never written after a month
        (["12/31/2024", "01/02/2024"], (MDY,)),
        (["31/12/2024", "01/02/2024"], (DMY,)),
        (["01/02/2024", "03/04/2024"], (DMY, MDY)),
        (["31/12/2024", "12/31/2024"], ()),
        (["2024-12-31"] * 30 + ["soon"], (YMD,)),
        (["2024-12-31"] * 5 + ["soon"], ()),
        (["10.1", "2.3"], ()),
        ([], ()),
    ],
)
def test_all_cells_together_decide_the_form(cells: list[str], forms: tuple[DateForm, ...]) -> None:
    assert forms_of(cells) == forms


def test_a_table_has_the_dates_and_a_model_their_numbers() -> None:
    names = ColumnNames.parse("kind", "sku", "released=date:dmy,price=num,sold=drop")
    table = ("ID", "released_date", "price_num", "label")
    model = [
        "ID", "released_days_num", "released_year_num", "released_month_num", "released_weekday_num", "price_num",
        "label",
    ]  # fmt: skip
    assert names.canonical("released") == "released_date"
    assert names.in_models(table) == model
    assert names.in_tables(model) == table
    assert {names.own(column) for column in model[1:5]} == {"released"}
    convert = names.cells_in_models(table)
    assert convert is not None
    assert convert(["a", "31.12.2024", "3", "x"]) == ["a", "20088", "2024", "12", "2", "3", "x"]
    assert ColumnNames.parse("kind", "sku", names.as_json) == names
    lines = names.for_lines
    assert lines.in_models(table) == list(table)
    assert lines.cells_in_models(table) is None
