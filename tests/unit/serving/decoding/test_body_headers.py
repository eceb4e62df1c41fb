from __future__ import annotations

import pytest

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.serving.decoding import Header, Kind, Reading, Record, decode

SCHEMA = FeatureSchema(("ID", "label", "a_text", "b_text"))
NO_ID = FeatureSchema(("a_text", "b_num", "label"))
ACCENTS = FeatureSchema(("gr\u00f6\u00dfe_num", "label", "caf\u00e9_text"))
ENDPOINT = Reading()
BATCH = Reading(in_batch=True)
PRESENT = Reading(header=Header.PRESENT)


def records(body: str, reading: Reading, schema: FeatureSchema = SCHEMA) -> list[Record]:
    return decode(body.encode(), Kind.CSV, schema, reading).records


@pytest.mark.parametrize("reading", [ENDPOINT, BATCH, PRESENT])
@pytest.mark.parametrize("header", ["ID,a_text,b_text", '"ID","a_text","b_text"'])
def test_the_header_of_lines_is_recognised(header: str, reading: Reading) -> None:
    named, row = records(f"{header}\n1,x,y\n", reading)
    assert named.is_header
    assert row.cells == ("1", "x", "y")


def test_a_header_is_a_row_where_the_content_type_says_so() -> None:
    (record,) = records("ID,a_text,b_text\n", Reading(header=Header.ABSENT))
    assert not record.is_header


@pytest.mark.parametrize(
    ("header", "row", "cells"),
    [
        ("b_text,ID,a_text", "y,1,x", ("1", "x", "y")),
        ("label,b_text,a_text,ID", "books,y,x,1", ("1", "x", "y")),
        ("a_text,b_text", "x,y", ("", "x", "y")),
        ("b_text,label,a_text", "y,books,x", ("", "x", "y")),
    ],
)
@pytest.mark.parametrize("before", ["", "0,v,w\n"])
def test_another_order_is_matched_by_name_on_endpoints_and_refused_in_batch(
    header: str, row: str, cells: tuple[str, ...], before: str
) -> None:
    *_, named, record = records(f"{before}{header}\n{row}\n", ENDPOINT)
    assert named.is_header
    assert (record.cells, record.identity) == (cells, cells[0])
    number = 1 + before.count("\n")
    with pytest.raises(UserError, match=rf"line {number} is a header.*ID,a_text,b_text.*JSON Lines"):
        records(f"{before}{header}\n{row}\n", BATCH)


@pytest.mark.parametrize("reading", [ENDPOINT, BATCH, PRESENT])
@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("id,a_text,b_text", "'id' to 'ID'"),
        ("ID, a_text, b_text", "' a_text' to 'a_text', ' b_text' to 'b_text'"),
        ("ID,A_Text,b_text ", "'A_Text' to 'a_text', 'b_text ' to 'b_text'"),
        ("Label,ID,a_text,B_TEXT", "'Label' to 'label', 'B_TEXT' to 'b_text'"),
    ],
)
def test_names_that_differ_in_case_or_blanks_are_named_and_refused(header: str, shown: str, reading: Reading) -> None:
    if reading is PRESENT and header.startswith("id,"):
        return  # A column that the model does not have is ignored.
    with pytest.raises(UserError) as caught:
        records(f"{header}\n1,x,y\n", reading)
    assert f"change {shown}." in str(caught.value)


def test_names_that_differ_in_unicode_form_are_named() -> None:
    with pytest.raises(UserError, match="line 1 is a header, but its names are not those of the model"):
        records("gro\u0308\u00dfe_num,cafe\u0301_text\n1,x\n", BATCH, ACCENTS)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("ID,a_text,c_text", "the column b_text is not in it"),
        ("ID,a_text,b_text,extra", "'extra', which the model does not have"),
        ("ID,a_text,b_text,b_text", "names a column twice"),
    ],
)
def test_a_header_with_other_columns_is_never_scored(header: str, message: str) -> None:
    for reading in (ENDPOINT, BATCH):
        with pytest.raises(UserError, match=message):
            records(f"{header}\n1,x,y,z\n", reading)


def test_joined_parts_have_their_headers_answered() -> None:
    body = "\ufeffID,a_text,b_text\n1,x,y\n\ufeffID,a_text,b_text\r\n2,v,w\n"
    for reading in (ENDPOINT, BATCH, PRESENT):
        assert [record.is_header for record in records(body, reading)] == [True, False, True, False]
        assert records(body, reading)[3].cells == ("2", "v", "w")


def test_a_long_header_is_recognised_again() -> None:
    header = ",".join(["ID", "a_text", *(f"other_{number}" for number in range(100)), "b_text"])
    row = ",".join(["1", "x", *("?" for _ in range(100)), "y"])
    read = records(f"{header}\n{row}\n{header}\n{row}\n", PRESENT)
    assert [record.is_header for record in read] == [True, False, True, False]


def test_a_header_that_the_content_type_announces_names_the_columns() -> None:
    for reading in (PRESENT, Reading(header=Header.PRESENT, in_batch=True)):
        _, record = records("b_text,label,extra,ID,a_text\ny,books,?,7,x\n", reading)
        assert (record.cells, record.identity) == (("7", "x", "y"), "7")
        with pytest.raises(UserError, match="does not name the column"):
            records("1,x,2\n", reading)
    with pytest.raises(UserError, match="does not name the column b_text"):
        records("ID,a_text\n", PRESENT)
    with pytest.raises(UserError, match="does not name the column ID"):
        records("a_text,b_text\n", Reading(header=Header.PRESENT, in_batch=True))
    assert records("a_text,b_text\nx,y\n", PRESENT)[1].cells == ("", "x", "y")


def test_a_model_without_id_ignores_one_that_a_header_names() -> None:
    _, record = records("ID,b_num,a_text\n7,2,x\n", ENDPOINT, NO_ID)
    assert (record.cells, record.identity) == (("x", "2"), "")


@pytest.mark.parametrize("row", ["1,a text about a_text,x", "ID,x,y", "1,a_text,x", "label,x,y"])
def test_rows_that_mention_names_are_rows(row: str) -> None:
    assert not records(f"{row}\n", BATCH)[0].is_header
