from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.serving.decoding import Decoded, Kind, Reading, decode
from multimodal_algo.serving.decoding.json_body import split_lines

SCHEMA = FeatureSchema(("ID", "a_text", "b_num", "label"))
IMAGES = FeatureSchema(("label", "a_cat", "b_image"))
ERRORS = Reading(refuse_unknown_keys=True)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["ID", "a_text", "b_num", "x"]), inner),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("body", "lines"),
    [(b"", 0), (b"a", 1), (b"a\n", 1), (b"a\r\nb\r\r\n", 2), (b"\n\n", 2), ("a\u2028b\x85c\n".encode(), 1)],
)
def test_lines_are_cut_at_newlines_only(body: bytes, lines: int) -> None:
    assert len(split_lines(body)) == lines


@given(st.lists(JSON_VALUES, max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_json_lines_have_a_record_each(values: list[object], end: str) -> None:
    body = b"".join(json.dumps(value).encode() + end.encode() for value in values)
    assert len(decode(body, Kind.JSON_LINES, SCHEMA).records) == len(values)


@pytest.mark.parametrize("kind", [Kind.JSON, Kind.JSON_LINES])
def test_objects_that_end_with_a_carriage_return_are_read_or_refused(kind: Kind) -> None:
    body = b'{"a_text": "x"}\r{"a_text": "y"}\r'
    assert [record.cells[1] for record in decode(body, kind, SCHEMA).records] == ["x", "y"]
    with pytest.raises(UserError, match="carriage return"):
        decode(body + b'{"a_text"\r', kind, SCHEMA)


def test_several_objects_in_a_line_are_named() -> None:
    (record,) = decode(b'{"a_text": "x"}{"a_text": "y"}\n', Kind.JSON_LINES, SCHEMA).records
    assert "write one object per line" in (record.problem or "")


def test_json_cells_keep_their_spelling() -> None:
    body = b'{"b_num": 1.10, "a_text": "x\\ny", "ID": 7}\n{"ID": "8", "a_text": null}\n["9", "z", 2e3]\n'
    records = decode(body, Kind.JSON_LINES, SCHEMA).records
    assert [record.cells for record in records] == [("7", "x\ny", "1.10"), ("8", "", ""), ("9", "z", "2e3")]
    assert [record.identity for record in records] == ["7", "8", "9"]


def test_nan_is_missing_in_every_column() -> None:
    body = b'{"ID": NaN, "a_text": NaN, "b_num": NaN}\n["1", NaN, NaN]\n{"ID": "1", "a_text": "x", "b_num": Infinity}\n'
    cells = [record.cells for record in decode(body, Kind.JSON_LINES, SCHEMA).records]
    assert cells == [("", "", ""), ("1", "", ""), ("1", "x", "Infinity")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "not JSON"),
        (b"3", "neither an object nor a list"),
        (b'{"ID": "1"}', "none of the columns a_text, b_num is there"),
        (b'{"ID": "1", "A_Text": "x"}', "none of the columns a_text, b_num is there; is 'A_Text' a_text?"),
        (b'{"ID": "1", "a_text": {"x": 1}}', "column a_text:"),
        (b'{"a_text": "\\ud800"}', "not UTF-8"),
        (b'{"a_text": "\xe9"}', "not UTF-8 (byte 0xe9 at position 13)"),
        (b"[" * 100_000, "not JSON"),
        (b"[1, 2]", "2 fields instead of 3"),
        (b"  ", "a blank line"),
    ],
)
def test_a_bad_json_line_says_why(line: bytes, message: str) -> None:
    (record,) = decode(line, Kind.JSON_LINES, SCHEMA).records
    assert record.problem is not None
    assert message in record.problem


SPARSE = (
    b'{"ID": "1", "a_text": "x", "b_num": 2, "_source": "web"}\n'
    b'{"ID": "2", "a_text": "x", "_source": "web"}\n'
    b'{"ID": "3", "A_TEXT ": "x", "b_num": 3, "Color": "red"}\n'
)


def test_keys_of_their_own_are_ignored_in_every_row_and_counted() -> None:
    decoded = decode(SPARSE, Kind.JSON_LINES, SCHEMA)
    assert [record.problem for record in decoded.records] == [None] * 3
    assert [record.cells for record in decoded.records] == [("1", "x", "2"), ("2", "x", ""), ("3", "", "3")]
    (warning,) = decoded.warnings
    assert "'_source' (2 rows)" in warning
    assert "'A_TEXT ' (1 row, is it a_text?)" in warning
    assert decode(SPARSE[:10], Kind.JSON_LINES, SCHEMA).warnings == ()


def test_keys_of_their_own_are_refused_in_every_row_where_the_options_say_so() -> None:
    problems = [record.problem or "" for record in decode(SPARSE, Kind.JSON_LINES, SCHEMA, ERRORS).records]
    assert all("there is no column '" in problem for problem in problems)
    assert "there is no column 'A_TEXT '; is it a_text?" in problems[2]
    (record,) = decode(b'{"ID": "1", "a_text": "x", "b_num": 2, "label": "y"}', Kind.JSON, SCHEMA, ERRORS).records
    assert record.problem is None


def test_the_log_line_of_many_keys_is_short() -> None:
    body = b"".join(b'{"a_text": "x", "%s%d": 1}\n' % (b"k" * 200, number) for number in range(1000))
    (warning,) = decode(body, Kind.JSON_LINES, SCHEMA).warnings
    assert len(warning) < 1000
    assert "and 90 more" in warning


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


def test_lists_without_id_are_read_where_the_request_says_so() -> None:
    (record,) = decode(b'["x", 2]', Kind.JSON_LINES, SCHEMA, Reading(id_absent=True)).records
    assert record.cells == ("", "x", "2")


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
    with pytest.raises(UserError, match="no column 'other'"):
        decode(stream.getvalue(), Kind.PARQUET, IMAGES, ERRORS)
