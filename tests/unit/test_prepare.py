from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multimodal_algo.errors import UserError
from multimodal_algo.prepare import prepare_lines

ROWS = 'ID,a_text,label,b_num\n1,"two\r\nlines, ""quoted""",x,3\n2,plain,y,\n'


def test_newlines_become_spaces_in_csv_and_stay_in_json_lines(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(ROWS, newline="")
    assert prepare_lines(tmp_path / "data.csv", tmp_path / "out.csv") == 2
    written = (tmp_path / "out.csv").read_text()
    assert written.count("\n") == 2
    assert list(csv.reader(io.StringIO(written))) == [["1", 'two lines, "quoted"', "3"], ["2", "plain", ""]]
    prepare_lines(tmp_path / "data.csv", tmp_path / "out.jsonl")
    first = json.loads((tmp_path / "out.jsonl").read_text().split("\n")[0])
    assert first == {"ID": "1", "a_text": 'two\r\nlines, "quoted"', "b_num": "3"}


def test_a_models_columns_are_written_in_its_order(archive: Path, sample: Path, tmp_path: Path) -> None:
    header, *rows = list(csv.reader((sample / "test.csv").open(newline="")))
    turned = io.StringIO(newline="")
    csv.writer(turned).writerows([list(reversed(row)) for row in [header, *rows]])
    (tmp_path / "turned.csv").write_text(turned.getvalue(), newline="")
    prepare_lines(tmp_path / "turned.csv", tmp_path / "out.csv", model=archive)
    assert list(csv.reader((tmp_path / "out.csv").open(newline=""))) == [row[:-1] for row in rows]
    with pytest.raises(UserError, match=r"no model\.tar\.gz"):
        prepare_lines(sample / "test.csv", tmp_path / "out.csv", model=sample / "test.csv")


def test_bytes_of_images_become_base64(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a_image": [b"\xff\xd8"], "label": ["x"]}), tmp_path / "data.parquet")
    prepare_lines(tmp_path / "data.parquet", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "/9g=\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [("ID,a\n1,2\n", "'a' has no known suffix"), ("a_text,b_num\nx\n", "row 1 (line 2): 1 fields instead of 2")],
)
def test_what_cannot_be_prepared_is_told_and_leaves_no_file(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(UserError) as error:
        prepare_lines(tmp_path / "data.csv", tmp_path / "out.csv")
    assert told in str(error.value)
    assert not list(tmp_path.glob("out*"))
