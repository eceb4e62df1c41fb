from __future__ import annotations

import csv
import io
import json
import os
import tarfile
import tempfile
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from multimodal_algo.artifact import CONFIG, ModelConfig
from multimodal_algo.cli import main
from multimodal_algo.config.inference import on_one_line
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.progress import Progress
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.ingest.sources import find_sources, read_rows
from multimodal_algo.serving.decoding import Kind, decode
from multimodal_algo.tools.prepare import data as preparing
from multimodal_algo.tools.prepare import prepare_data
from multimodal_algo.tools.prepare.rows import InputRow

ROWS = 'ID,a_text,label,b_num\n1,"two\r\nlines, ""quoted""",x,3\n2,plain,y,\n'
HEADER = ["ID", "a_text", "label", "b_cat"]


def test_newlines_become_spaces_in_csv_and_stay_in_json_lines(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(ROWS, newline="")
    assert prepare_data(tmp_path / "data.csv", tmp_path / "out.csv").rows == 2
    written = (tmp_path / "out.csv").read_text()
    assert written.count("\n") == 2
    assert list(csv.reader(io.StringIO(written))) == [["1", 'two lines, "quoted"', "3"], ["2", "plain", ""]]
    prepare_data(tmp_path / "data.csv", tmp_path / "out.jsonl")
    first = json.loads((tmp_path / "out.jsonl").read_text().split("\n")[0])
    assert first == {"ID": "1", "a_text": 'two\r\nlines, "quoted"', "b_num": "3"}


def test_a_training_csv_is_what_was_read(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(ROWS, newline="")
    prepare_data(tmp_path / "data.csv", tmp_path / "out.csv", training=True)
    assert (tmp_path / "out.csv").read_bytes().decode() == ROWS


def test_files_of_a_folder_are_one_after_the_other_with_the_columns_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("ID,a_text,label\n1,x,k\n")
    (tmp_path / "data/b.csv").write_text("label,ID,a_text\nl,2,y\n")
    prepare_data(tmp_path / "data", tmp_path / "out.csv", training=True)
    assert (tmp_path / "out.csv").read_text() == "ID,a_text,label\n1,x,k\n2,y,l\n"
    (tmp_path / "data/c.csv").write_text("label,ID\nl,2\n")
    with pytest.raises(UserError, match=r"data/c\.csv: there is no column 'a_text'"):
        prepare_data(tmp_path / "data", tmp_path / "out.csv", training=True)
    assert (tmp_path / "out.csv").read_text().endswith("2,y,l\n")


@pytest.mark.parametrize("folder", [".", "model", "export/1"])
def test_a_models_columns_are_written_in_its_order(tmp_path: Path, folder: str) -> None:
    config = ModelConfig(
        format_version=1,
        columns=("b_num", "label", "ID", "a_text"),
        problem_type="binary",
        classes=("x", "y"),
        branches=(),
        image_backbone=None,
        min_completeness=0.0,
        recipe="toy",
        hyperparameters={},
        versions={},
        metrics={},
    )
    (tmp_path / CONFIG).write_text(config.model_dump_json())
    (tmp_path / "._x").write_text("of a desktop")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "._x", f"{folder}/._{CONFIG}")
        tar.add(tmp_path / CONFIG, f"{folder}/{CONFIG}")
    (tmp_path / "data.csv").write_text("ID,note,a_text,b_num\n1,n,x,3\n")
    prepare_data(tmp_path / "data.csv", tmp_path / "out.csv", model=tmp_path / "model.tar.gz")
    assert (tmp_path / "out.csv").read_text() == "3,1,x\n"
    (tmp_path / "data.csv").write_text("ID,a_text\n1,x\n")
    with pytest.raises(UserError, match=r"data\.csv: there is no column 'b_num'"):
        prepare_data(tmp_path / "data.csv", tmp_path / "out.csv", model=tmp_path / "model.tar.gz")
    with pytest.raises(UserError, match=r"is not the model\.tar\.gz"):
        prepare_data(tmp_path / "data.csv", tmp_path / "out.csv", model=tmp_path / "data.csv")


def test_an_empty_cell_that_is_a_row_is_no_blank_line(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text('a_text\n""\nx\n')
    prepare_data(tmp_path / "data.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == '""\nx\n'


def test_bytes_of_images_become_base64(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a_image": [b"\xff\xd8"], "label": ["x"]}), tmp_path / "data.parquet")
    prepare_data(tmp_path / "data.parquet", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "/9g=\n"


def test_a_fifo_is_read_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=(tmp_path / "fifo").write_text, args=(ROWS,))
    writer.start()
    assert prepare_data(tmp_path / "fifo", tmp_path / "out.csv").rows == 2
    writer.join()


@given(
    st.lists(
        # A NUL is refused, and a BOM at the begin of a line is not data.
        st.tuples(
            *[
                st.text(
                    st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff")
                    | st.sampled_from('\r\n",;\u2028')
                )
            ]
            * 4
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_cell_comes_back(rows: list[tuple[str, ...]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        with (folder / "data.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([HEADER, *rows])
        for output in ("train.csv", "lines.csv", "lines.jsonl"):
            prepare_data(folder / "data.csv", folder / output, training=output == "train.csv")
        trained = [row.fields for row in read_rows(find_sources(folder / "train.csv")[0])]
        lines, objects = (folder / "lines.csv").read_bytes(), (folder / "lines.jsonl").read_bytes()
    assert trained == [HEADER, *map(list, rows)]
    wanted = [(row[0], row[1], row[3]) for row in rows]
    schema = FeatureSchema(tuple(HEADER))
    assert [record.cells for record in decode(objects, Kind.JSON_LINES, schema).records] == wanted
    # Each line by itself, as SplitType Line may send it.
    assert lines.count(b"\n") == len(rows)
    for line, cells in zip(lines.splitlines(keepends=True), wanted, strict=True):
        (record,) = decode(line, Kind.CSV, schema).records
        assert record.cells == tuple(map(on_one_line, cells))


@pytest.mark.parametrize(
    ("text", "training", "message"),
    [
        ("ID,a\n1,2\n", False, "'a' has no known suffix"),
        ("ID,a_text\n1,2\n", True, "there is no 'label' column"),
        ("a_text,b_num\nx\n", False, "row 1 (line 2): 1 fields instead of 2"),
        ("\n\n", False, "data.csv: the file is blank"),
        ('a_text\n"x\n', False, "not well-formed CSV"),
    ],
)
def test_what_cannot_be_prepared_is_reported_and_leaves_no_file(
    tmp_path: Path, text: str, training: bool, message: str
) -> None:
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(UserError) as error:
        prepare_data(tmp_path / "data.csv", tmp_path / "out.csv", training=training)
    assert message in str(error.value)
    assert not list(tmp_path.glob("out*"))


def test_names_of_outputs_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(ROWS)
    with pytest.raises(UserError, match="this file is also an input"):
        prepare_data(tmp_path / "data.csv", tmp_path / "../" / tmp_path.name / "data.csv", training=True)
    with pytest.raises(UserError, match="training does not read JSON Lines"):
        prepare_data(tmp_path / "data.csv", tmp_path / "out.jsonl", training=True)
    with pytest.raises(UserError, match=r"name the file \.csv"):
        prepare_data(tmp_path / "data.csv", tmp_path / "out.txt")


def test_rows_keep_their_order_however_long_each_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing.os, "cpu_count", lambda: 2)
    third_is_done = threading.Event()

    def work(row: InputRow) -> int:
        if row.done == 1:
            assert third_is_done.wait(10)
        if row.done == 3:
            third_is_done.set()
        return row.done

    rows = [InputRow("", [], number) for number in range(1, 200)]
    assert list(preparing._in_order(work, rows)) == list(range(1, 200))


@pytest.mark.parametrize(("cell", "most"), [("", 65), ("x" * 2**24, 5)])
def test_few_rows_are_in_memory(monkeypatch: pytest.MonkeyPatch, cell: str, most: int) -> None:
    monkeypatch.setattr(preparing.os, "cpu_count", lambda: 2)
    read = 0

    def rows():
        nonlocal read
        for read in range(1, 300):
            yield InputRow("", [cell], read)

    for finished in preparing._in_order(lambda row: row.done, rows()):
        assert read - finished < most


def test_progress_on_a_terminal_is_a_bar_and_lines_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("multimodal_algo.core.progress.time.monotonic", lambda: now)
    with Progress("prepare", "rows", 1000) as progress:
        progress.at(1, 100)
        now = 10.0
        progress.at(50, 500)
        progress.at(51, 510)
    assert capsys.readouterr().out == "prepare: 50 rows, 50%, 5 rows/s\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with Progress("prepare", "rows", None) as progress:
        progress.at(1, 100)
    assert "prepare" in capsys.readouterr().out


def test_the_command_tells_in_one_line_what_it_wrote(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(ROWS)
    done = CliRunner().invoke(main, ["prepare", str(tmp_path / "data.csv"), "--output", str(tmp_path / "out.csv")])
    assert done.exit_code == 0, done.output
    assert done.output == f"{tmp_path}/out.csv: 2 rows, 0.0 MB in 0.0 s\n"


def test_header_lines_of_joined_files_are_not_rows(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a_text,label\nx,p\na_text,label\ny,q\n")
    assert prepare_data(tmp_path / "data.csv", tmp_path / "out.csv").rows == 2
    assert (tmp_path / "out.csv").read_text() == "x\ny\n"
