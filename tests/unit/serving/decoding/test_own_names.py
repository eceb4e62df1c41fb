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
ROW = {"url": "https://x.org", "price": "2.5", "title": "a lamp", "sku": "7", "Category": "lamp"}


def parquet() -> bytes:
    stream = io.BytesIO()
    pd.DataFrame([ROW]).to_parquet(stream)
    return stream.getvalue()


@pytest.mark.parametrize("refuse", [False, True])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.JSON, json.dumps(ROW).encode()),
        (Kind.JSON_LINES, json.dumps({"title_text": "a lamp", "price": 2.5, "sku": 7}).encode()),
        (Kind.CSV, f"{','.join(ROW)}\n{','.join(ROW.values())}\n".encode()),
        (Kind.CSV, b"sku,title,price\n7,a lamp,2.5\n"),
        (Kind.CSV, b"7,a lamp,2.5\n"),
        (Kind.PARQUET, parquet()),
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
