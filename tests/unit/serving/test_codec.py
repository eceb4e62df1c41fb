from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_algo.schema import FeatureSchema
from multimodal_algo.serving.codec import decode_csv, encode_csv, identity, split_lines

SCHEMA = FeatureSchema(("ID", "a_text", "b_num", "label"))
ONE_COLUMN = FeatureSchema(("a_text", "label"))
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), max_size=10)


@given(st.binary(max_size=200))
def test_any_body_has_a_record_per_line(body: bytes) -> None:
    expected = body.count(b"\n") + (not body.endswith(b"\n") and body not in (b"", b"\xef\xbb\xbf"))
    assert len(decode_csv(body, SCHEMA)) == expected


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_well_formed_lines_are_read_field_for_field(rows: list[tuple[str, str, str]], end: str, bom: bool) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end).writerows(rows)
    body = (b"\xef\xbb\xbf" if bom else b"") + text.getvalue().encode()
    records = decode_csv(body, SCHEMA)
    assert [record.fields for record in records] == [tuple(row) for row in rows]
    assert [record.line for record in records] == list(range(1, len(rows) + 1))


@given(st.lists(st.lists(st.text(max_size=8), min_size=1, max_size=4), max_size=6))
def test_each_answer_is_exactly_one_line(rows: list[list[str]]) -> None:
    encoded = encode_csv(rows)
    assert encoded.count(b"\n") == len(rows)
    assert b"\r" not in encoded


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"", 0),
        (b"a", 1),
        (b"a\n", 1),
        (b"a\r\nb", 2),
        (b"\n\n", 2),
        ("a\u2028b\x85c\n".encode(), 1),
        (b"\xef\xbb\xbfa\n", 1),
    ],
)
def test_lines_are_cut_at_newlines_only(body: bytes, lines: int) -> None:
    assert len(split_lines(body)) == lines


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"1,x", "2 fields instead of 3 (ID, a_text, b_num; is ID missing?)"),
        (b"1,x,2,books", "4 fields instead of 3 (ID, a_text, b_num; leave the label out)"),
        (b"", "blank line"),
        (b'1,"torn', "a quote is not closed"),
        (b'1,"x"y,2', "not well-formed CSV"),
        (b"1,\xff,2", "not UTF-8 (byte 0xff at position 3)"),
    ],
)
def test_a_bad_line_says_why(line: bytes, told: str) -> None:
    good, bad = decode_csv(b"1,x,2\n" + line + b"\n", SCHEMA)
    assert good.problem is None
    assert bad.problem is not None
    assert told in bad.problem


def test_the_header_is_recognised_on_the_first_line_only() -> None:
    records = decode_csv(b"ID,a_text,b_num\n1,x,2\nID,a_text,b_num\n", SCHEMA)
    assert [record.is_header for record in records] == [True, False, False]


def test_a_blank_line_is_an_empty_cell_where_rows_have_one_column() -> None:
    (record,) = decode_csv(b"\n", ONE_COLUMN)
    assert record.problem is None
    assert record.fields == ("",)


def test_the_id_of_a_bad_row_is_kept_where_it_can_be_told() -> None:
    short, torn = decode_csv(b'007,x\n8,"torn\n', SCHEMA)
    assert identity(short, SCHEMA) == "007"
    assert identity(torn, SCHEMA) == ""
