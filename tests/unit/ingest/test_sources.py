from __future__ import annotations

import csv
import gzip
import io
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multimodal_algo.core.errors import UserError
from multimodal_algo.ingest import scan
from multimodal_algo.ingest.findings import Findings
from multimodal_algo.ingest.progress import Progress
from multimodal_algo.ingest.sources import Source, SourceRow, cut, find_sources, read_rows

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def read(path: Path) -> list[list[str]]:
    return [row.fields for row in read_rows(Source(path, path.name))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.integers(2, 4).flatmap(lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1, max_size=6)),
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    zipped=st.booleans(),
)
def test_whatever_is_well_formed_is_read_field_for_field(
    tmp_path: Path, rows: list[list[str]], end: str, bom: bool, zipped: bool
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    data = (b"\xef\xbb\xbf" if bom else b"") + text.getvalue().encode("utf-8")
    path = tmp_path / "x.csv"
    path.write_bytes(gzip.compress(data) if zipped else data)
    assert read(path) == rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=500)
@given(text=st.text(st.sampled_from('ab,,"" \n\n\r\u2028'), max_size=40))
def test_any_text_is_read_as_the_standard_library_reads_it_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(text.encode("utf-8"))
    try:
        expected = [fields for fields in csv.reader(_lines(text), strict=True) if fields]
    except csv.Error:
        with pytest.raises(UserError, match="not well-formed CSV"):
            read(path)
        return
    if len({len(fields) for fields in expected}) <= 1:
        assert read(path) == expected
        return
    # A record of another width, over several lines of which one is a row, may be the sign of an open quote.
    try:
        assert read(path) == expected
    except UserError as error:
        assert "not well-formed CSV" in str(error)  # noqa: PT017 - both outcomes are right


def _lines(text: str) -> list[str]:
    return io.StringIO(text, newline="\n").readlines()


@pytest.mark.parametrize(("last", "fields"), [('"\n"', ["\n"]), (',"\na",', ["", "\na", ""])])
def test_the_last_record_is_read_whole_whatever_its_width(tmp_path: Path, last: str, fields: list[str]) -> None:
    (tmp_path / "x.csv").write_text(f",\n{last}")
    assert read(tmp_path / "x.csv") == [["", ""], fields]


def test_unicode_line_separators_stay_inside_their_cell(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\none\u2028two,\x85\u2029\x0b\x0c\n", encoding="utf-8", newline="")
    assert read(path) == [["a", "b"], ["one\u2028two", "\x85\u2029\x0b\x0c"]]


def test_rows_know_their_number_and_their_line(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('a,b\n1,"x\ny"\n\n2,z', encoding="utf-8")
    rows = list(read_rows(Source(path, "x.csv")))
    assert [(row.number, row.line) for row in rows] == [(0, 1), (1, 3), (2, 5)]


def read_until_an_error(source: Source) -> tuple[list[SourceRow], str]:
    rows = []
    try:
        for row in read_rows(source, reports_broken=True):
            rows.append(row)
    except UserError as error:
        return rows, str(error)
    return rows, ""


def assert_sections_are_the_whole(source: Source, least_bytes: int = 1, least_rows: int = 1) -> int:
    """Compare the sections of a file with the whole file, and return their number."""
    header, *expected = (rows := read_until_an_error(source))[0] or [SourceRow(0, 1, [], 0, 0)]
    sections = cut(source, header.fields, least_bytes, least_rows)
    collected, errors = [], []
    for number, section in enumerate(sections):
        (first, *rest), error = read_until_an_error(replace(source, section=section))
        assert (first.number, first.line, first.fields) == (header.number, header.line, header.fields)
        assert rest or number == len(sections) - 1
        collected += rest
        errors += [error] if error else []
    if sections:
        expected_rows = [(row.number, row.line, row.fields, row.position, row.problem) for row in expected]
        assert [(row.number, row.line, row.fields, row.position, row.problem) for row in collected] == expected_rows
        assert errors == ([rows[1]] if rows[1] else [])
        assert sum(section.size for section in sections) == source.size - sections[0].offset
    return len(sections)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=500)
@given(
    text=st.text(st.sampled_from('ab,,"" \n\n\n\r\u2028'), max_size=60),
    bad=st.booleans(),
    bom=st.booleans(),
    zipped=st.booleans(),
)
def test_sections_of_a_file_have_its_rows_at_their_places(
    tmp_path: Path, text: str, bad: bool, bom: bool, zipped: bool
) -> None:
    data = (b"\xef\xbb\xbf" if bom else b"") + text.encode() + (b"\nx\xff,\n1,2" if bad else b"")
    path = tmp_path / "x.csv"
    path.write_bytes(gzip.compress(data) if zipped else data)
    assert_sections_are_the_whole(Source(path, "x.csv"), least_bytes=0 if zipped else 1)


def test_sections_have_at_least_what_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + '1,"x\ny"\n' * 100)
    assert assert_sections_are_the_whole(Source(path, "x.csv"), 8 * 10, 1) == 11
    assert assert_sections_are_the_whole(Source(path, "x.csv"), 8 * 10, 30) == 4
    assert assert_sections_are_the_whole(Source(path, "x.csv"), 8 * 101, 1) == 0


def test_progress_in_a_section_is_counted_from_its_begin(tmp_path: Path) -> None:
    class Recording(Progress):
        def at(self, offset: int) -> None:
            offsets.append(offset)

    offsets: list[int] = []
    path = tmp_path / "x.csv"
    path.write_text("label,a_num\n" + "p,1\n" * 100)
    source = Source(path, "x.csv")
    sections = [replace(source, section=section) for section in cut(source, ("label", "a_num"), 1, 30)]
    scan.collect(sections[1:], Findings(), progress=Recording(0))
    assert offsets == sorted(offsets)
    assert offsets[-1] == 4 * 70


def test_a_file_with_other_columns_is_left_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "1,2\n" * 9)
    assert cut(Source(path, "x.csv"), ("b", "a"), 1, 1) == []


@pytest.mark.parametrize("group", [7, 100])
def test_parquet_has_sections_too(tmp_path: Path, group: int) -> None:
    path = tmp_path / "x.parquet"
    table = pd.DataFrame({"a": range(100), "label": [f"l{n % 3}" for n in range(100)]})
    table.to_parquet(path, row_group_size=group)
    for rows in (1, 7, 10, 64, 99):
        assert assert_sections_are_the_whole(Source(path, "x.parquet"), 0, rows) > 1
    table[:0].to_parquet(path)
    assert assert_sections_are_the_whole(Source(path, "x.parquet"), 0) == 0
    assert [row.fields for row in read_rows(Source(path, "x.parquet"))] == [["a", "label"]]


def test_a_broken_archive_is_reported_by_its_last_section(tmp_path: Path) -> None:
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 9999, mtime=0)[:-9])
    assert assert_sections_are_the_whole(Source(path, "x.csv.gz"), 0, 1000) > 1


def test_a_cell_of_many_megabytes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "A" * 30_000_000 + ",1\n", encoding="utf-8")
    assert len(read(path)[1][0]) == 30_000_000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,b\n1,2\n3,\xff\xfe\n", "x.csv, line 3: not UTF-8 (byte 0xff at position 3"),
        (b'a,b\n1,2\n3,"open\n4,5\n', "row 2"),
        (b'a,b\n1,"x"y\n', "row 1"),
        (gzip.compress(b"a,b\n1,2\n" * 999, mtime=0)[:-30], "gzip file is broken"),
    ],
)
def test_an_error_in_a_file_names_its_line(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read(path)
    assert message in str(caught.value)


def test_a_channel_is_searched_below_its_folders_without_markers_and_empty_files(tmp_path: Path) -> None:
    for name in ("b/c.csv.gz", "a.csv", "b/_SUCCESS", ".hidden.csv", "notes.txt", "b/part-00000"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "empty.csv").write_text("")
    names = [source.path.relative_to(tmp_path).as_posix() for source in find_sources(tmp_path)]
    assert names == ["a.csv", "b/c.csv.gz", "b/part-00000"]


def test_a_channel_without_csv_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"only notes\.txt is there"):
        find_sources(tmp_path)
