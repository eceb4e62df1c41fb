"""Bodies by a user's own column names are read as those with suffixes."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest

from multimodal_algo.core.column_names import ColumnNames
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.serving.decoding import Kind, Reading, decode

SCHEMA = FeatureSchema(("ID", "title_text", "price_num", "label"))
NAMES = ColumnNames.parse("Category", "sku", "title=text,price=num,url=drop")
ROW: dict[str, object] = {"url": "https://x.org", "price": "2.5", "title": "a lamp", "sku": "7", "Category": "lamp"}


def parquet(row: dict[str, object]) -> bytes:
    stream = io.BytesIO()
    pd.DataFrame([row]).to_parquet(stream)
    return stream.getvalue()


@pytest.mark.parametrize("refuse", [False, True])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.JSON, json.dumps(ROW).encode()),
        (Kind.JSON_LINES, json.dumps({"title_text": "a lamp", "price": 2.5, "sku": 7}).encode()),
        (Kind.CSV, f"{','.join(ROW)}\n{','.join(map(str, ROW.values()))}\n".encode()),
        (Kind.CSV, b"sku,title,price\n7,a lamp,2.5\n"),
        (Kind.CSV, b"7,a lamp,2.5\n"),
        (Kind.PARQUET, parquet(ROW)),
    ],
)
def test_own_names_and_suffixes_give_the_same_record(kind: Kind, body: bytes, refuse: bool) -> None:
    decoded = decode(body, kind, SCHEMA, Reading(names=NAMES, refuse_unknown_keys=refuse))
    (record,) = [record for record in decoded.records if not record.is_header]
    assert record.cells == ("7", "a lamp", "2.5")
    assert record.identity == "7"
    assert decoded.warnings == ()


def test_messages_have_the_own_names() -> None:
    with pytest.raises(UserError, match="change 'Title' to 'title'"):
        decode(b"Title,price\nx,1\n", Kind.CSV, SCHEMA, Reading(names=NAMES))
    with pytest.raises(UserError, match="Write the columns as sku,title,price"):
        decode(b"title,price,sku\nx,1,7\n", Kind.CSV, SCHEMA, Reading(names=NAMES, in_batch=True))


DATED = FeatureSchema(
    ("ID", *(f"sold_{part}_num" for part in ("days", "year", "month", "weekday")), "size_num", "label")
)
DATES = ColumnNames.parse("Category", "sku", "sold=date:dmy,size=num")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.JSON, b'{"sku": "7", "sold": "31.12.2024", "size": 3}'),
        (Kind.JSON_LINES, b'{"ID": "7", "sold_date": "2024-12-31", "size_num": 3}'),
        (Kind.JSON, b'[["7", "31/12/2024", 3]]'),
        (Kind.CSV, b"7,31.12.2024,3\n"),
        (Kind.CSV, b"size,sku,sold\n3,7,31.12.2024\n"),
        (Kind.PARQUET, parquet({"sku": "7", "sold": pd.Timestamp("2024-12-31"), "size": 3})),
        (Kind.PARQUET, parquet({"sku": "7", "sold": pd.Timestamp("2024-12-31").date(), "size": 3})),
    ],
)
def test_a_date_is_one_cell_of_a_body_and_four_numbers_of_a_record(kind: Kind, body: bytes) -> None:
    records = decode(body, kind, DATED, Reading(names=DATES, refuse_unknown_keys=True)).records
    assert records[-1].cells == ("7", "20088", "2024", "12", "2", "3")


def test_a_date_that_cannot_be_read_is_empty_and_a_missing_field_is_a_problem() -> None:
    records = decode(b"7,soon,3\n8,3\n9,,3\n", Kind.CSV, DATED, Reading(names=DATES)).records
    assert [record.cells for record in records] == [("7", "", "", "", "", "3"), (), ("9", "", "", "", "", "3")]
    assert (records[1].problem or "").startswith("2 fields instead of 3 (ID, sold_date, size_num")
