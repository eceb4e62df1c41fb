"""A user's own column names stand for columns with suffixes."""

from __future__ import annotations

import re

import pytest

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.column_names import ColumnNames
from multimodal_algo.core.errors import UserError


@pytest.mark.parametrize(
    "columns",
    [
        "title=text,price=num,url=drop",
        " title = text , price = num,url=drop",
        '{"title":"text","price":"num","url":"drop"}',
    ],
)
def test_kinds_are_pairs_or_json(columns: str) -> None:
    names = ColumnNames.parse("Category", "sku", columns)
    header = ["sku", "title", "price", "url", "colour_cat", "Category"]
    assert [names.canonical(name) for name in header] == ["ID", "title_text", "price_num", "url", "colour_cat", "label"]
    assert names.dropped == {"url"}
    assert [names.own(name) for name in ("ID", "price_num", "colour_cat")] == ["sku", "price", "colour_cat"]
    assert names.undecided([*header, "size"]) == ["size"]


def test_names_survive_the_description_of_an_artifact() -> None:
    names = ColumnNames.parse("Category", "ID", "title=text").with_kinds({"a, b": "num", 'the "best"': "cat"})
    parameters = HyperParameters.parse({"label": "Category", "group_by": "title"}).with_names(names)
    again = HyperParameters.parse(
        {name: str(value) for name, value in parameters.model_dump(exclude_none=True).items()}
    )
    assert again.column_names.kinds == names.kinds
    assert again.group_columns == ("title_text",)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"columns": "title:text"}, "write it as title=text,price=num"),
        ({"columns": "title=txt"}, "kinds are text, num, cat, image, date and drop. Is it text?"),
        ({"columns": "sold=date:dym"}, "gives 'sold' the kind 'date:dym'"),
        ({"columns": '{"title": 3}'}, "write it as title=text,price=num"),
        ({"columns": "price_num=text"}, "but its suffix says num"),
        ({"columns": "Category=cat", "label": "Category"}, "The column 'Category' has two meanings"),
        ({"label": "ID"}, "The column 'ID' has two meanings"),
    ],
)
def test_what_cannot_be_meant_is_refused(values: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        HyperParameters.parse(values)


def test_a_job_that_goes_on_has_the_names_of_the_previous_model() -> None:
    previous = ColumnNames.parse("Category", "sku", "title=text,sold=date:dmy,url=drop")
    header = ["sku", "title", "sold", "url", "size_num", "Category"]
    same = ColumnNames("Category", "sku", previous.kinds, finds_kinds=True)
    assert ColumnNames().completed(previous, header) == same
    assert (
        ColumnNames.parse("Category", "sku", "sold=date").completed(previous, header).canonical("title") == "title_text"
    )
    assert dict(ColumnNames.parse("Category", "ID", "url=cat,sold=date").completed(previous, header).kinds) == {
        "url": "cat", "sold": "date:dmy", "title": "text",
    }  # fmt: skip
    suffixed = ["ID", "title_text", "label"]
    assert ColumnNames().completed(previous, suffixed) == ColumnNames()
