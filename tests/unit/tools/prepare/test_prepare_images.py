from __future__ import annotations

import base64
import csv
import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image
from small_job import WriteCsv

from multimodal_algo.cli import main
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.ingest.rows import RowParser
from multimodal_algo.serving.decoding import Kind, decode
from multimodal_algo.tools.prepare import ImageRules, prepare_data

HEADER = ["ID", "photo_image", "label"]
SCHEMA = FeatureSchema(tuple(HEADER))
RED, BLUE = (220, 20, 30), (20, 30, 220)


def photo(colour: tuple[int, int, int] = RED, size: tuple[int, int] = (640, 480), kind: str = "JPEG") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, kind)
    return data.getvalue()


def images_of(cell: str) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(part))) for part in cell.split(";") if part]


def written(path: Path) -> list[list[str]]:
    with path.open(newline="") as stream:
        return list(csv.reader(stream))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some images, and one beside their folder."""
    (tmp_path / "photos/deep").mkdir(parents=True)
    (tmp_path / "photos/red.jpg").write_bytes(photo())
    (tmp_path / "photos/deep/blue one.png").write_bytes(photo(BLUE, (300, 900), "PNG"))
    (tmp_path / "photos/small.jpg").write_bytes(photo(BLUE, (200, 300)))
    (tmp_path / "photos/torn.jpg").write_bytes(photo()[:-500])
    (tmp_path / "secret.jpg").write_bytes(photo())
    (tmp_path / "photos/link.jpg").symlink_to(tmp_path / "secret.jpg")
    return tmp_path / "photos"


def test_named_files_become_images_that_serving_reads(write_csv: WriteCsv, folder: Path, tmp_path: Path) -> None:
    table = write_csv(
        "data.csv", [HEADER, ["1", "red.jpg; deep/blue one.png", "a"], ["2", "", "b"], ["3", "small.jpg", "c"]]
    )
    done = prepare_data(table, tmp_path / "lines.csv", images=ImageRules(folder))
    assert (done.rows, done.images, done.emptied) == (3, 3, 0)
    records = decode((tmp_path / "lines.csv").read_bytes(), Kind.CSV, SCHEMA).records
    parser = RowParser(SCHEMA.inference_columns)
    parsed = [parser.start(record.cells).finish() for record in records]
    assert [row.problems for row in parsed] == [[], [], []]
    found = [[tuple(image.mean(axis=(0, 1))) for image in row.cells["photo_image"]] for row in parsed]
    assert np.abs(np.array(found[0]) - (RED, BLUE)).max() < 6
    assert found[1] == []
    assert np.abs(np.array(found[2]) - BLUE).max() < 6
    assert [image.size for image in images_of(records[0].cells[1])] == [(389, 292), (292, 876)]
    assert base64.b64decode(records[2].cells[1]) == (folder / "small.jpg").read_bytes()


def test_a_training_csv_and_json_lines_hold_the_same_images(write_csv: WriteCsv, folder: Path, tmp_path: Path) -> None:
    table = write_csv("data.csv", [HEADER, ["1", "red.jpg", "a"]])
    rules = ImageRules(folder, side=64, quality=50)
    prepare_data(table, tmp_path / "train.csv", training=True, images=rules)
    header, row = written(tmp_path / "train.csv")
    assert (header, row[2]) == (HEADER, "a")
    assert images_of(row[1])[0].size == (85, 64)
    prepare_data(table, tmp_path / "lines.jsonl", images=rules)
    (record,) = decode((tmp_path / "lines.jsonl").read_bytes(), Kind.JSON_LINES, SCHEMA).records
    assert record.cells == ("1", row[1])


def test_base64_is_made_smaller_when_images_are_asked_for_and_copied_else(write_csv: WriteCsv, tmp_path: Path) -> None:
    cell = "data:image/png;base64," + base64.b64encode(photo(kind="PNG")).decode()
    table = write_csv("data.csv", [HEADER, ["1", cell, "a"]])
    assert prepare_data(table, tmp_path / "lines.csv").images == 0
    assert written(tmp_path / "lines.csv") == [["1", cell]]
    prepare_data(table, tmp_path / "lines.csv", images=ImageRules(side=100))
    (image,) = images_of(written(tmp_path / "lines.csv")[0][1])
    assert (image.format, image.size) == ("JPEG", (133, 100))


def test_bytes_in_parquet_are_made_smaller(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a_image": [photo(), None], "label": ["x", "y"]}), tmp_path / "data.parquet")
    prepare_data(tmp_path / "data.parquet", tmp_path / "out.csv", images=ImageRules(), training=True)
    _, (cell, _), last = written(tmp_path / "out.csv")
    assert images_of(cell)[0].size == (389, 292)
    assert last == ["", "y"]


@pytest.mark.parametrize("rules", [None, ImageRules(side=100)])
def test_lists_and_structs_of_images_in_parquet_are_joined(tmp_path: Path, rules: ImageRules | None) -> None:
    kind = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    images = [{"bytes": photo(), "path": "a.jpg"}, {"bytes": photo(BLUE), "path": None}]
    table = pa.table({"ID": ["1", "2"], "photo_image": pa.array([images, []], kind), "label": ["a", "b"]})
    pq.write_table(table, tmp_path / "x.parquet")
    prepare_data(tmp_path / "x.parquet", tmp_path / "train.csv", training=True, images=rules)
    _, first, second = written(tmp_path / "train.csv")
    red, blue = images_of(first[1])
    assert min(red.size) == min(blue.size) == (100 if rules else 480)
    assert np.abs(np.asarray(blue).mean(axis=(0, 1)) - BLUE).max() < 6
    assert second[1] == ""


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("red.jpg;none.jpg", "there is no file 'none.jpg'"),
        ("../secret.jpg", "there is no file '../secret.jpg'"),
        ("link.jpg", "there is no file 'link.jpg'"),
        ("red", "not base64"),
        ("torn.jpg", "the image cannot be decoded"),
        ("aGVsbG8gd29ybGQh", "not a JPEG"),
    ],
)
def test_a_bad_image_is_reported_with_its_place_or_leaves_its_cell_empty(
    write_csv: WriteCsv, folder: Path, tmp_path: Path, cell: str, message: str
) -> None:
    table = write_csv("data.csv", [HEADER, ["1", "red.jpg", "a"], ["2", cell, "b"], ["3", "small.jpg", "c"]])
    with pytest.raises(UserError) as error:
        prepare_data(table, tmp_path / "out.csv", images=ImageRules(folder))
    assert str(error.value).startswith("data.csv, row 2 (line 3), column photo_image: ")
    assert message in str(error.value)
    assert not list(tmp_path.glob("out*"))
    done = prepare_data(table, tmp_path / "out.csv", images=ImageRules(folder, empty_bad=True))
    assert (done.rows, done.images, done.emptied) == (3, 2, 1)
    assert f"1 image cells left empty (the first: {done.first_emptied})" in done.sentence
    assert message in done.sentence
    assert written(tmp_path / "out.csv")[1] == ["2", ""]


def test_names_without_a_folder_are_for_training_only(write_csv: WriteCsv, tmp_path: Path) -> None:
    table = write_csv("data.csv", [HEADER, ["1", "red.jpg", "a"]])
    prepare_data(table, tmp_path / "train.csv", training=True)
    assert written(tmp_path / "train.csv")[1] == ["1", "red.jpg", "a"]
    for output, training, rules in (("lines.csv", False, None), ("train.csv", True, ImageRules())):
        with pytest.raises(UserError, match=r"'red.jpg' names a file.*Give the folder as --images"):
            prepare_data(table, tmp_path / output, training=training, images=rules)


def test_rows_with_images_keep_their_order(write_csv: WriteCsv, folder: Path, tmp_path: Path) -> None:
    for number in range(40):
        size = 1200 if number % 5 == 0 else 8
        (folder / f"{number}.png").write_bytes(photo((number * 6, 0, 0), (size, size), "PNG"))
    table = write_csv("data.csv", [HEADER, *[[str(number), f"{number}.png", "a"] for number in range(40)]])
    prepare_data(table, tmp_path / "out.csv", images=ImageRules(folder))
    for number, (identity, cell) in enumerate(written(tmp_path / "out.csv")):
        assert identity == str(number)
        red = np.asarray(images_of(cell)[0])[..., 0].mean()
        assert abs(red - number * 6) < 3


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """A folder of images as torchvision's ImageFolder reads it, with what lies about in such folders."""
    for name in ("cat/2.jpg", "cat/10.JPG", "cat/more; of them/_1.png", "dog/a,b.webp", ".cache/3.jpg", "dog/.4.jpg"):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(kind={".png": "PNG", ".webp": "WEBP"}.get(path.suffix, "JPEG")))
    (tmp_path / "pets/README").write_text("of friends")
    return tmp_path / "pets"


def test_a_folder_of_classes_becomes_a_training_csv(classes: Path, tmp_path: Path) -> None:
    done = prepare_data(classes, tmp_path / "train.csv", training=True)
    header, *rows = written(tmp_path / "train.csv")
    assert header == ["ID", "label", "photo_image"]
    names = ["cat/10.JPG", "cat/2.jpg", "cat/more; of them/_1.png", "dog/a,b.webp"]
    assert [row[:2] for row in rows] == [[name, name[:3]] for name in names]
    assert {images_of(row[2])[0].size for row in rows} == {(389, 292)}
    assert (done.rows, done.images, done.passed_over) == (4, 4, 1)
    assert "1 files that are not images passed over" in done.sentence


def test_a_folder_of_images_becomes_inference_lines(classes: Path, tmp_path: Path) -> None:
    (classes / "stray.jpg").write_bytes(photo())
    prepare_data(classes, tmp_path / "lines.csv", images=ImageRules(side=32))
    rows = written(tmp_path / "lines.csv")
    assert [len(row) for row in rows] == [2] * 5
    assert rows[0][0] == "stray.jpg"
    with pytest.raises(UserError, match=r"pets/stray\.jpg: the image is not in a sub-folder"):
        prepare_data(classes, tmp_path / "train.csv", training=True)


def test_a_broken_file_of_a_folder_is_reported_by_its_path(classes: Path, tmp_path: Path) -> None:
    (classes / "dog/c.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"pets/dog/c\.jpg, column photo_image: not a JPEG"):
        prepare_data(classes, tmp_path / "train.csv", training=True)
    done = prepare_data(classes, tmp_path / "train.csv", training=True, images=ImageRules(empty_bad=True))
    assert (done.rows, done.emptied) == (5, 1)


def test_a_name_that_cannot_be_written_is_reported(classes: Path, tmp_path: Path) -> None:
    (classes / "dog" / os.fsdecode(b"\xff.jpg")).write_bytes(photo())
    with pytest.raises(UserError, match=r"pets: the name of the file 'dog/\\udcff\.jpg' is not UTF-8"):
        prepare_data(classes, tmp_path / "train.csv", training=True)


def test_a_folder_with_a_table_is_one_of_tables(classes: Path, tmp_path: Path) -> None:
    (classes / "table.csv").write_text("ID,photo_image\n1,cat/2.jpg\n")
    done = prepare_data(classes / "table.csv", tmp_path / "lines.csv", images=ImageRules(classes))
    assert (done.rows, done.images) == (1, 1)
    (classes / "README").unlink()
    assert prepare_data(classes, tmp_path / "lines.csv", images=ImageRules(classes)).rows == 1


def test_the_command_takes_folders_and_options(classes: Path, tmp_path: Path) -> None:
    def run(*arguments: str | Path) -> str:
        done = CliRunner().invoke(main, ["prepare", *map(str, arguments)])
        assert done.exit_code == 0, done.output
        return done.output

    train, lines = tmp_path / "train.csv", tmp_path / "lines.csv"
    assert "4 rows, 4 images" in run(classes, "--training", "--output", train, "--image-side", "100")
    assert images_of(written(train)[1][2])[0].size == (133, 100)
    (tmp_path / "names.csv").write_text("ID,photo_image\n1,cat/2.jpg\n2,cat/3.jpg\n")
    message = run(tmp_path / "names.csv", "--output", lines, "--images", classes, "--on-bad-image", "empty")
    assert "2 rows, 1 images" in message
    assert "1 image cells left empty" in message
