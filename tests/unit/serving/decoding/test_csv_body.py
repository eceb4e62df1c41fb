from __future__ import annotations

import csv
import io
import time
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.serving.decoding import Header, Kind, Reading, Record, decode

SCHEMA = FeatureSchema(("ID", "a_text", "b_num", "label"))
TEXTS = FeatureSchema(("ID", "a_text", "b_text", "label"))
ONE_COLUMN = FeatureSchema(("a_text", "label"))
BATCH = Reading(in_batch=True)
SINGLE = Reading(in_batch=True, single_record=True)
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n\ufeff"), max_size=10)
LINES = st.text('ab," \r\n', max_size=10)
NUMBERS = st.sampled_from(["", "1", "2.5", "-3e4"])
QUOTING = st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])


def csv_records(body: bytes, schema: FeatureSchema = SCHEMA, reading: Reading = BATCH) -> list[Record]:
    return decode(body, Kind.CSV, schema, reading).records


def cells_of(body: bytes, schema: FeatureSchema = SCHEMA, reading: Reading = BATCH) -> list[tuple[str, ...]]:
    return [record.cells for record in csv_records(body, schema, reading)]


def written(rows: list[tuple[str, ...]], end: str = "\r\n", quoting: int = csv.QUOTE_MINIMAL) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end, quoting=quoting).writerows(rows)  # type: ignore[arg-type]
    return text.getvalue().encode()


@given(st.lists(st.text('ab1,;\t\u2028\x85é😀"', max_size=8), max_size=8))
def test_lines_whose_cells_do_not_begin_with_quotes_have_a_record_each(lines: list[str]) -> None:
    assume(not any(cell.startswith('"') for line in lines for cell in line.split(",")))
    body = "".join(f"{line}\n" for line in lines).encode()
    assert len(csv_records(body)) == len(lines)


@given(st.binary(max_size=100), st.sampled_from(list(Kind)), st.sampled_from(["utf-8", "latin-1", "utf-16", "no such"]))
def test_hostile_bytes_become_records_or_a_user_error(body: bytes, kind: Kind, charset: str) -> None:
    try:
        records = decode(body, kind, SCHEMA, Reading(charset)).records
    except UserError:
        return
    assert all(len(record.cells) == 3 or record.problem or record.is_header for record in records)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_well_formed_lines_are_read_field_for_field(rows: list[tuple[str, str, str]], end: str, bom: bool) -> None:
    records = csv_records((b"\xef\xbb\xbf" if bom else b"") + written(rows, end))
    assert [record.cells for record in records] == [tuple(row) for row in rows]
    assert [record.line for record in records] == list(range(1, len(rows) + 1))


@given(st.lists(st.tuples(CELLS, LINES, NUMBERS), max_size=8), QUOTING, st.booleans())
def test_quoted_newlines_are_read_from_a_whole_body(
    rows: list[tuple[str, str, str]], quoting: int, in_batch: bool
) -> None:
    body = written(rows, quoting=quoting)
    assert cells_of(body, reading=Reading(in_batch=in_batch)) == rows


@given(st.lists(st.tuples(LINES, LINES, LINES), max_size=8), QUOTING)
def test_cells_of_any_column_are_read_or_the_body_is_refused(rows: list[tuple[str, str, str]], quoting: int) -> None:
    try:
        cells = cells_of(written(rows, quoting=quoting), TEXTS)
    except UserError as error:
        refusal = str(error)
    else:
        assert cells == rows
        return
    assert "may be one row with newlines in a cell" in refusal


@given(st.lists(st.tuples(LINES, LINES, LINES), min_size=2, max_size=8), QUOTING, st.data())
def test_a_file_cut_at_any_newline_is_refused_or_read_without_a_torn_row(
    rows: list[tuple[str, str, str]], quoting: int, data: st.DataObject
) -> None:
    # A line of a cell that has the fields of a row cannot be told from a row, once the cell is cut apart.
    assume(not any(line.count(",") == 2 for row in rows for cell in row for line in cell.split("\n")[1:]))
    lines = written(rows, quoting=quoting).split(b"\n")[:-1]
    cut = data.draw(st.integers(1, max(1, len(lines) - 1)))
    cells = []
    try:
        for part in (lines[:cut], lines[cut:]):
            cells += [record for record in csv_records(b"".join(line + b"\n" for line in part), TEXTS)]
    except UserError:
        return
    # Where both bodies are answered, what has a prediction is a row of the file, and no row is lost without a sign.
    assert {record.cells for record in cells if not record.problem} <= set(rows)
    assert len(cells) >= len(rows) or any(record.problem and not record.is_blank for record in cells)


@pytest.mark.parametrize("reading", [Reading(), BATCH, SINGLE])
@pytest.mark.parametrize(
    "line",
    [b'2,27" monitor,1', b'2,monitor 27",1', b'2,a "fine" film,1', b'2, "spaced",1', b"2,5'11\" and 6'2\",1"],
)
def test_a_quote_inside_a_cell_is_a_letter_and_costs_no_other_line(line: bytes, reading: Reading) -> None:
    expected = tuple(line.decode().split(","))
    assert cells_of(line, reading=reading) == [expected]
    rest = [b"1,x,2", line, b"3,y,4"]
    assert cells_of(b"\n".join(rest), reading=reading) == [("1", "x", "2"), expected, ("3", "y", "4")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"1,x", "2 fields instead of 3 (ID, a_text, b_num; is ID missing? Set inference_id=absent"),
        (b"1,x,2,books", "4 fields instead of 3 (ID, a_text, b_num; leave the label out)"),
        (b"1,x,2,", "remove the comma at the end"),
        (b"1;x;2", "the separator is ';', write commas"),
        (b"1\tx\t2", "the separator is a tab, write commas"),
        (b"", "blank line"),
        (b'1,"x"y,2', "text follows the closing quote of a cell; double quotes inside it"),
        (b'1,"27 inch" monitor,2', "text follows the closing quote"),
        (b'1,"27\\" monitor",2', "Spark's option escape='\"'"),
        (b'1,"27\\"",2', "Spark's option escape='\"'"),
        (b'1,"a\\",b",2', "Spark's option escape='\"'"),
        (b'1,"never closed,2', "a quote begins a cell and is not closed"),
        (b'1,"never closed', "a quote begins a cell and is not closed"),
        (b"1,stray\r text,2", "a carriage return (CR) stands outside quotes"),
        (b"1,stray\r,2", "a carriage return (CR) stands outside quotes"),
        (b"1,\xff,2", "not UTF-8 (byte 0xff at position 3)"),
    ],
)
def test_a_bad_line_says_why_and_costs_no_other_line(line: bytes, message: str) -> None:
    good, bad, last = csv_records(b"8,x,2\n" + line + b"\n9,y,3\n")
    assert (good.cells, last.cells) == (("8", "x", "2"), ("9", "y", "3"))
    assert bad.problem is not None
    assert message in bad.problem
    (alone,) = csv_records(line + b"\n", reading=SINGLE)
    assert alone.problem == bad.problem


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b'2,x,2\n1,"torn', 2),
        (b'1,x,2\n2,"torn\n', 2),
        (b'1,"torn\n', 1),
        (b'1,"two\nlines" and more,3\n2,x,4\n', 1),
        (b'1,"two\n\xffines" and more,3\n2,x,4\n', 1),
        (b'1,"say "hi"\nthere, all",3\n2,x,4\n', 1),
        (b'1,"say \\"hi\\"\nthere, all",3\n2,x,4\n', 1),
    ],
)
def test_a_torn_row_is_refused_with_its_line_and_the_remedies(body: bytes, line: int) -> None:
    with pytest.raises(UserError, match=rf"^line {line}: a quote is not closed.*prepare.*application/jsonlines"):
        csv_records(body)


def test_a_quote_that_is_not_closed_costs_its_own_row_where_the_others_are_whole() -> None:
    body = b'1,x,2\n2,"27 inch,3\n3,y,4\n4,"no number\n5,z,6\n6,"last,7\n'
    records = csv_records(body)
    assert [record.problem is None for record in records] == [True, False, True, False, True, False]
    assert [record.identity for record in records] == list("123456")
    records = csv_records(b'1,"no number\n2,27" monitor,3\n3,y,4\n')
    assert [record.problem is None for record in records] == [False, True, True]
    records = csv_records(b'1,"never closed,2\n2,x,3\n3,screen 32",4\n')
    assert [record.problem is None for record in records] == [False, True, True]
    records = csv_records(b'1,"a\n2,"b",3\n')
    assert [record.problem is None for record in records] == [False, True]


def test_lines_that_are_rows_or_one_row_together_are_refused() -> None:
    for body, schema in (
        (b'1,"torn,2\n2,screen 32",4\n', SCHEMA),
        (b'1,"torn,b\n2,screen 32",c\n', TEXTS),
    ):
        with pytest.raises(UserError, match=r"^line 1: a quote is not closed in its line\. Lines 1 to"):
            csv_records(body, schema)


def test_a_row_over_several_lines_with_a_wrong_number_of_fields_is_one_bad_row() -> None:
    bad, good = csv_records(b'1,"two\nlines"\n2,x,3\n')
    assert "2 fields instead of 3" in (bad.problem or "")
    assert good.cells == ("2", "x", "3")


@pytest.mark.parametrize("line", [b'1,"x,y\n', b'a","\n', b'"""\n', b'1,"\n2,""\n'])
@pytest.mark.parametrize("tail", [b"", b'"\n'])
def test_quotes_that_are_not_closed_are_looked_for_in_linear_time(line: bytes, tail: bytes) -> None:
    started = time.process_time()
    with suppress(UserError):
        csv_records(line * 20_000 + tail, TEXTS)
    # A search to the end for each line would take minutes.
    assert time.process_time() - started < 15


def test_quotes_that_begin_cells_of_lines_in_a_row_cost_these_alone() -> None:
    records = csv_records(b'1,"a,b\n2,"c,d\n3,e,f\n', TEXTS)
    assert [record.problem is None for record in records] == [False, False, True]


ROWS = [("1", "x", "2"), ("2", "y", "3"), ("3", "z", "4")]


@pytest.mark.parametrize(
    "ends",
    [
        ("\n",) * 3,
        ("\r\n",) * 3,
        ("\r",) * 3,
        ("\r\r\n",) * 3,
        ("\r", "\n", "\r\n"),
        ("\r\n", "\r", ""),
        ("\n", "\r\r\n", "\r"),
    ],
)
@pytest.mark.parametrize("header", ["", "ID,a_text,b_num"])
def test_every_line_end_gives_one_record_a_row(ends: tuple[str, ...], header: str) -> None:
    body = (f"{header}{ends[0]}" if header else "") + "".join(
        ",".join(row) + end for row, end in zip(ROWS, ends, strict=True)
    )
    for presence in (Header.AUTO, Header.PRESENT if header else Header.ABSENT):
        reading = Reading(header=presence, in_batch=True)
        records = csv_records(body.encode(), reading=reading)
        assert [record.cells for record in records if not record.is_header] == ROWS
        assert sum(record.is_header for record in records) == bool(header)


def test_lf_before_cr_ends_a_line_too() -> None:
    assert cells_of(b"1,x,2\n\r2,y,3\n\r3,z,4\n\r")[:3] == ROWS


def test_quoted_carriage_returns_stay_in_their_cells() -> None:
    assert cells_of(b'1,"a\rb",2\r\n2,"c\r\nd",3\r\n') == [("1", "a\rb", "2"), ("2", "c\r\nd", "3")]
    assert cells_of(b'1,"a\rb",2\r2,y,3\r') == [("1", "a\rb", "2"), ("2", "y", "3")]


@pytest.mark.parametrize(
    ("body", "schema"),
    [
        (b"1,x,2\r2,y\r3,z,4\r", SCHEMA),
        (b"good,1,x,2\rbad,2,y,3\r", SCHEMA),
        (b"0,w,1\n1,x,2\r2,y\r3,z,4\n", SCHEMA),
        (b"hello\rworld\r", ONE_COLUMN),
    ],
)
def test_carriage_returns_between_what_may_not_be_rows_are_refused(body: bytes, schema: FeatureSchema) -> None:
    with pytest.raises(UserError, match=r"lines end with a carriage return \(CR\) alone"):
        csv_records(body, schema)


def test_a_blank_line_is_an_empty_cell_where_rows_have_one_column() -> None:
    (record,) = csv_records(b"\n", ONE_COLUMN)
    assert record.problem is None
    assert record.cells == ("",)


def test_a_bad_row_has_its_id_where_the_id_comes_first() -> None:
    short, wrong, quoted = csv_records(b'007,x\n8,x,y,z,z\n9,"x"y,2\n')
    assert (short.identity, wrong.identity, quoted.identity) == ("007", "8", "9")


def test_lines_without_id_are_read_where_the_request_says_so() -> None:
    absent = Reading(id_absent=True, in_batch=True)
    assert cells_of(b"x,2\ny,3\n", reading=absent) == [("", "x", "2"), ("", "y", "3")]
    (record,) = csv_records(b"1,x,2\n", reading=absent)
    assert "3 fields instead of 2 (a_text, b_num" in (record.problem or "")
    assert [record.is_header for record in csv_records(b"a_text,b_num\nx,2\n", reading=absent)] == [True, False]
