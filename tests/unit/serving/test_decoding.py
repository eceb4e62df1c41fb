from __future__ import annotations

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.serving.decoding import Decoded, Header, Kind, Record, decode, split_lines

SCHEMA = FeatureSchema(("ID", "a_text", "b_num", "label"))
ONE_COLUMN = FeatureSchema(("a_text", "label"))
IMAGES = FeatureSchema(("label", "a_cat", "b_image"))
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), max_size=10)
LINES = st.text('ab," \n', max_size=10)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["ID", "a_text", "b_num", "x"]), inner),
    max_leaves=6,
)


def csv_records(body: bytes, schema: FeatureSchema = SCHEMA, header: Header = Header.AUTO) -> list[Record]:
    return decode(body, Kind.CSV, schema, header=header).records


def written(rows: list[tuple[str, ...]], end: str = "\n") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end).writerows(rows)
    return text.getvalue().encode()


@given(st.binary(max_size=200).filter(lambda body: b'"' not in body))
def test_any_body_without_quotes_has_a_record_per_line(body: bytes) -> None:
    body = body.removeprefix(b"\xef\xbb\xbf")
    expected = body.count(b"\n") + (not body.endswith(b"\n") and body != b"")
    assert len(csv_records(body)) == expected


@given(st.binary(max_size=100), st.sampled_from(list(Kind)), st.sampled_from(["utf-8", "latin-1", "utf-16", "no such"]))
def test_hostile_bytes_become_records_or_a_user_error(body: bytes, kind: Kind, charset: str) -> None:
    try:
        records = decode(body, kind, SCHEMA, charset=charset).records
    except UserError:
        return
    assert all(len(record.cells) == 3 or record.problem or record.is_header for record in records)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_well_formed_lines_are_read_field_for_field(rows: list[tuple[str, str, str]], end: str, bom: bool) -> None:
    records = csv_records((b"\xef\xbb\xbf" if bom else b"") + written(rows, end))
    assert [record.cells for record in records] == [tuple(row) for row in rows]
    assert [record.line for record in records] == list(range(1, len(rows) + 1))


@given(st.lists(st.tuples(CELLS, LINES, LINES), max_size=8))
def test_quoted_newlines_are_read_from_a_whole_body(rows: list[tuple[str, str, str]]) -> None:
    assert [record.cells for record in csv_records(written(rows))] == [tuple(row) for row in rows]


@given(st.lists(st.tuples(CELLS, LINES, CELLS), min_size=2, max_size=8), st.data())
def test_a_file_cut_at_any_newline_is_refused_or_read_without_a_torn_row(
    rows: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    lines = written(rows).split(b"\n")[:-1]
    cut = data.draw(st.integers(1, max(1, len(lines) - 1)))
    is_torn = sum(line.count(b'"') for line in lines[:cut]) % 2 == 1
    if is_torn:
        for part in (lines[:cut], lines[cut:]):
            with pytest.raises(UserError, match="a quote is not closed"):
                csv_records(b"\n".join(part))
        return
    cells = [record.cells for part in (lines[:cut], lines[cut:]) for record in csv_records(b"\n".join(part))]
    assert cells == [tuple(row) for row in rows]


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"", 0),
        (b"a", 1),
        (b"a\n", 1),
        (b"a\r\nb", 2),
        (b"\n\n", 2),
        ("a\u2028b\x85c\n".encode(), 1),
    ],
)
def test_lines_are_cut_at_newlines_only(body: bytes, lines: int) -> None:
    assert len(split_lines(body)) == lines


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"1,x", "2 fields instead of 3 (ID, a_text, b_num; is ID missing?)"),
        (b"1,x,2,books", "4 fields instead of 3 (ID, a_text, b_num; leave the label out)"),
        (b"", "blank line"),
        (b'1,"x"y,2', "not well-formed CSV"),
        (b"1,x,2\r3,y,4", "not well-formed CSV"),
        (b"1,\xff,2", "not UTF-8 (byte 0xff at position 3)"),
    ],
)
def test_a_bad_line_says_why(line: bytes, message: str) -> None:
    good, bad = csv_records(b"1,x,2\n" + line + b"\n")
    assert good.problem is None
    assert bad.problem is not None
    assert message in bad.problem


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b'1,"torn', 1),
        (b'1,x,2\n2,"torn\n', 2),
        (b'more of it",2\n3,x,1\n', 1),
        (b'1,"a\n2,"b",3\n', 1),
        (b'1,12" disc,2\n2,7" single,3\n', 1),
    ],
)
def test_an_unbalanced_quote_is_refused_with_its_line_and_the_remedies(body: bytes, line: int) -> None:
    with pytest.raises(UserError, match=rf"^line {line}: a quote is not closed.*prepare.*application/jsonlines"):
        csv_records(body)


def test_the_header_is_recognised_on_the_first_line_only() -> None:
    records = csv_records(b"ID,a_text,b_num\n1,x,2\nID,a_text,b_num\n")
    assert [record.is_header for record in records] == [True, False, False]
    assert not csv_records(b"ID,a_text,b_num\n", header=Header.ABSENT)[0].is_header


def test_a_header_that_the_content_type_announces_names_the_columns() -> None:
    _, record = csv_records(b"b_num,label,extra,ID,a_text\n2,books,?,7,x\n", header=Header.PRESENT)
    assert record.cells == ("7", "x", "2")
    assert record.identity == "7"
    with pytest.raises(UserError, match="does not name the column ID"):
        csv_records(b"1,x,2\n", header=Header.PRESENT)


def test_a_charset_is_read_as_such() -> None:
    for charset in ("latin-1", "utf-16"):
        (record,) = decode("1,Caf\u00e9,2\n".encode(charset), Kind.CSV, SCHEMA, charset=charset).records
        assert record.cells == ("1", "Caf\u00e9", "2")


def test_a_blank_line_is_an_empty_cell_where_rows_have_one_column() -> None:
    (record,) = csv_records(b"\n", ONE_COLUMN)
    assert record.problem is None
    assert record.cells == ("",)


def test_a_bad_row_has_its_id_where_the_id_comes_first() -> None:
    short, wrong = csv_records(b"007,x\n8,x,y,z,z\n")
    assert (short.identity, wrong.identity) == ("007", "8")


@given(st.lists(JSON_VALUES, max_size=5))
def test_json_lines_have_a_record_each(values: list[object]) -> None:
    body = b"".join(json.dumps(value).encode() + b"\n" for value in values)
    assert len(decode(body, Kind.JSON_LINES, SCHEMA).records) == len(values)


def test_json_cells_keep_their_spelling() -> None:
    body = b'{"b_num": 1.10, "a_text": "x\\ny", "ID": 7}\n{"ID": "8", "a_text": null}\n["9", "z", 2e3]\n'
    records = decode(body, Kind.JSON_LINES, SCHEMA).records
    assert [record.cells for record in records] == [("7", "x\ny", "1.10"), ("8", "", ""), ("9", "z", "2e3")]
    assert [record.identity for record in records] == ["7", "8", "9"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "not JSON"),
        (b"3", "neither an object nor a list"),
        (b'{"ID": "1", "a_txt": "x", "b_num": 2}', "there is no column 'a_txt'; is it a_text?"),
        (b'{"ID": "1"}', "none of the columns a_text, b_num is there"),
        (b'{"ID": "1", "a_text": {"x": 1}}', "column a_text:"),
        (b'{"a_text": "\\ud800"}', "not UTF-8"),
        (b"[" * 100_000, "not JSON"),
        (b"[1, 2]", "2 fields instead of 3"),
        (b"  ", "a blank line"),
    ],
)
def test_a_bad_json_line_says_why(line: bytes, message: str) -> None:
    (record,) = decode(line, Kind.JSON_LINES, SCHEMA).records
    assert record.problem is not None
    assert message in record.problem


def shape(decoded: Decoded) -> tuple[int, bool]:
    return len(decoded.records), decoded.is_single


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"instances": [{"a_text": "x"}, {"features": ["1", "x", 2]}, ["1", "x", 2]]}', (3, False)),
        (b'[{"a_text": "x"}]', (1, False)),
        (b'{"a_text": "x"}\n', (1, True)),
        (b'{"a_text": "x"}\n{"a_text": "y"}\n', (2, True)),
    ],
)
def test_json_is_instances_a_list_an_object_or_one_object_per_line(body: bytes, expected: tuple[int, bool]) -> None:
    decoded = decode(body, Kind.JSON, SCHEMA)
    assert shape(decoded) == expected
    assert not any(record.problem for record in decoded.records)


def test_several_images_may_be_a_list() -> None:
    (record,) = decode(b'{"a_cat": true, "b_image": ["eA==", "eQ=="]}', Kind.JSON, IMAGES).records
    assert record.cells == ("true", "eA==;eQ==")


def test_parquet_is_read_by_column_name_as_ingest_reads_it() -> None:
    table = pa.table({"b_image": [b"\xff", None], "a_cat": [1, None], "label": ["x", "y"], "other": [1.0, 2.0]})
    stream = io.BytesIO()
    pq.write_table(table, stream)
    records = decode(stream.getvalue(), Kind.PARQUET, IMAGES).records
    assert [record.cells for record in records] == [("1", b"\xff"), ("", "")]
    with pytest.raises(UserError, match="no column 'b_image'; a_text is missing"):
        decode(stream.getvalue(), Kind.PARQUET, FeatureSchema(("a_text", "b_num", "a_cat", "label")))
