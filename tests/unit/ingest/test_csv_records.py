"""Rows that are not well-formed: each costs itself alone, and its message names the habit of the writer."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multimodal_algo.core.errors import UserError
from multimodal_algo.ingest import records
from multimodal_algo.ingest.sources import Source, SourceRow, TableFormat, read_rows

HEADER = "ID,label,a_text\n"


def rows_of(path: Path, data: str | bytes, delimiter: str = ",") -> list[SourceRow]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(read_rows(Source(path, path.name, table=TableFormat(delimiter)), reports_broken=True))[1:]


def error_of(path: Path, data: str | bytes, delimiter: str = ",") -> str:
    with pytest.raises(UserError) as caught:
        rows_of(path, data, delimiter)
    return str(caught.value)


@pytest.mark.parametrize(
    "cell", ['27" monitor', "a 5' 10\" man", 'x ""', ' "quoted" after a blank', "it's", 'ends with "']
)
def test_a_quote_in_a_cell_that_does_not_begin_with_one_is_a_letter(tmp_path: Path, cell: str) -> None:
    rows = rows_of(tmp_path / "x.csv", f"{HEADER}1,p,{cell}\n2,q,{cell} too\n3,p,b\n")
    assert [row.fields for row in rows] == [["1", "p", cell], ["2", "q", f"{cell} too"], ["3", "p", "b"]]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('2,p,"27" wide"', "text follows the closing quote"),
        ('2,p,"27 wide', "a quote that begins a cell is not closed"),
        ('2,p,"she said \\"no\\", and left"', "as Spark does by default"),
        ('2,p,"C:\\\\dir \\"ok\\""', "as Spark does by default"),
        ("2,p,a\rb", "a carriage return, CR"),
        ("2\r,p,a", "a carriage return, CR"),
        ("2,p,a\0b", "a NUL byte (0x00)"),
        ('2,p,"a\0b"', "a NUL byte (0x00)"),
    ],
)
def test_a_broken_row_does_not_cost_its_neighbours(tmp_path: Path, line: str, reason: str) -> None:
    rows = rows_of(tmp_path / "x.csv", f'{HEADER}1,p,"a\nb"\n{line}\n3,q,"c, ""d"""\n4,p,e\n')
    assert [(row.number, row.line) for row in rows] == [(1, 3), (2, 4), (3, 5), (4, 6)]
    assert [row.fields for row in rows if row.problem is None] == [
        ["1", "p", "a\nb"],
        ["3", "q", 'c, "d"'],
        ["4", "p", "e"],
    ]
    assert rows[1].problem is not None
    assert reason in rows[1].problem.reason


def test_an_open_quote_that_a_later_row_closes_costs_one_row(tmp_path: Path) -> None:
    # The quote before the last comma of row 3 would close the cell of row 1.
    rows = rows_of(tmp_path / "x.csv", f'{HEADER}1,p,"27 inch\n2,q,b\n3,27",p\n4,q,c\n')
    assert [row.fields[:1] for row in rows] == [[], ["2"], ["3"], ["4"]]
    assert [row.line for row in rows] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    "rest",
    ['2,p,"27" wide, and\na second line"\n3,q,x\n', '2,p,"open\nline, two\n\nline four\n', '2,p,"open'],
    ids=["text after the quote", "open with lines", "cut"],
)
def test_where_the_next_row_is_not_certain_the_file_is_refused(tmp_path: Path, rest: str) -> None:
    assert "x.csv, row 2 (line 3): not well-formed CSV" in error_of(tmp_path / "x.csv", f"{HEADER}1,p,a\n{rest}")


def test_a_quote_that_takes_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_MOST_CHARACTERS", 1000)
    text = f'{HEADER}1,p,"open\n' + "words and words\n" * 1000
    assert "a quote that begins a cell is not closed" in error_of(tmp_path / "x.csv", text)


def test_a_line_of_any_length_in_a_small_gzip_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_MOST_CHARACTERS", 1 << 20)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"ID,a_text,label\n1,x,y\n" + b"x" * 5_000_000))
    with pytest.raises(UserError, match=r"a\.csv\.gz, line 3: the line is longer than 1 MB"):
        list(read_rows(Source(path, path.name)))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n"])
def test_line_ends_of_one_file_may_differ(tmp_path: Path, end: str) -> None:
    rows = rows_of(tmp_path / "x.csv", f'{HEADER}1,p,"a"{end}2,q,b\r\n3,p,c\n4,q,"d"{end}')
    assert [row.fields[2] for row in rows] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("quote", ["", '"'])
def test_line_ends_of_classic_mac_os_are_named(tmp_path: Path, quote: str) -> None:
    text = "\r".join(",".join(f"{quote}{cell}{quote}" for cell in row) for row in (HEADER.strip().split(","), "123"))
    for data in (text.encode(), gzip.compress(text.encode())):
        assert "its lines end with CR alone" in error_of(tmp_path / "x.csv", data)


@pytest.mark.parametrize("mark", ["\ufeff", "\ufeff\ufeff"])
def test_byte_order_marks_are_not_data(tmp_path: Path, mark: str) -> None:
    (tmp_path / "x.csv").write_text(f'{mark}"ID",label\n{mark}1,p\n{mark}"2",q\n')
    rows = [row.fields for row in read_rows(Source(tmp_path / "x.csv", "x.csv"))]
    assert rows == [["ID", "label"], ["1", "p"], ["2", "q"]]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_separator_is_named_or_read(tmp_path: Path, delimiter: str) -> None:
    name = {"\t": "tab"}.get(delimiter, delimiter)
    for text in (HEADER + '1,p,"a,b"\n', '"ID","label","a_text"\n1,p,"a,b"\n'):
        rows = rows_of(tmp_path / "x.csv", text.replace(",", delimiter), delimiter)
        assert [row.fields for row in rows] == [["1", "p", f"a{delimiter}b"]]
    assert f"csv_delimiter to '{name}'" in error_of(tmp_path / "x.csv", text.replace(",", delimiter))


def test_a_first_line_that_names_the_separator_is_passed_over_or_named(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "x.csv", f"sep=,\r\n{HEADER}1,p,a\n")
    assert [(row.number, row.line, row.fields) for row in rows] == [(1, 3, ["1", "p", "a"])]
    text = "\ufeffsep=;\n" + HEADER.replace(",", ";") + "1;p;a\n"
    assert [row.fields for row in rows_of(tmp_path / "x.csv", text, ";")] == [["1", "p", "a"]]
    assert "csv_delimiter to ';'" in error_of(tmp_path / "x.csv", text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    good=st.lists(st.text("ab ", min_size=1, max_size=5), min_size=2, max_size=6),
    bad=st.lists(
        st.sampled_from(['2,p,"27" x', '2,p,"27 x', '2,p,"\\"x\\""', "2,p,\ra", '2,"p"x,y']), min_size=1, max_size=4
    ),
    position=st.integers(0, 5),
    zipped=st.booleans(),
)
def test_neighbours_stay_wherever_broken_rows_stand(
    tmp_path: Path, good: list[str], bad: str, position: int, zipped: bool
) -> None:
    lines = [f"{number},q,{text}" for number, text in enumerate(good)]
    position = min(position, len(lines) - 1)
    data = (HEADER + "\n".join([*lines[:position], *bad, *lines[position:]]) + "\n").encode()
    rows = rows_of(tmp_path / "x.csv", gzip.compress(data) if zipped else data)
    assert [row.fields[2] for row in rows if row.problem is None] == good
    assert [row.number for row in rows if row.problem is not None] == [position + 1 + n for n in range(len(bad))]
