"""The sample: real files with all four modalities, the same each time."""

from __future__ import annotations

import base64
import csv
import io
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.ingest.column_kinds import find_kinds
from multimodal_algo.ingest.sources import TableFormat
from multimodal_algo.tools.sample import COLUMNS, KINDS, SampleFiles, write_own_table, write_sample


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> SampleFiles:
    return write_sample(tmp_path_factory.mktemp("sample"))


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def column(path: Path, name: str) -> list[str]:
    return [row[COLUMNS.index(name)] for row in table(path)[1:]]


def test_rows_and_columns_are_as_asked_for(files: SampleFiles) -> None:
    for path, rows in ((files.train, 240), (files.test, 60)):
        header, *body = table(path)
        assert tuple(header) == COLUMNS
        assert len(body) == rows
        assert {len(row) for row in body} == {len(COLUMNS)}


def test_the_headerless_file_is_the_test_file_without_header_and_label(files: SampleFiles) -> None:
    assert table(files.test_noheader) == [row[:-1] for row in table(files.test)[1:]]


def test_a_test_row_is_one_line_and_a_training_row_need_not_be(files: SampleFiles) -> None:
    assert len(files.test_noheader.read_bytes().splitlines()) == 60
    assert any("\n" in cell for cell in column(files.train, "description_text"))


def test_the_same_seed_gives_the_same_files(files: SampleFiles, tmp_path: Path) -> None:
    again = write_sample(tmp_path / "again")
    assert again.train.read_bytes() == files.train.read_bytes()
    assert again.test_noheader.read_bytes() == files.test_noheader.read_bytes()
    assert write_sample(tmp_path / "other", seed=1).train.read_bytes() != files.train.read_bytes()


def test_every_class_is_in_both_parts(files: SampleFiles) -> None:
    assert Counter(column(files.train, "label")) == dict.fromkeys(KINDS, 60)
    assert Counter(column(files.test, "label")) == dict.fromkeys(KINDS, 15)


def test_ids_are_unique_and_keep_their_leading_zeros(files: SampleFiles) -> None:
    ids = column(files.train, "ID") + column(files.test, "ID")
    assert len(set(ids)) == 300
    assert ids[0] == "00000"


@pytest.mark.parametrize("name", [name for name in COLUMNS if name not in ("ID", "label")])
def test_every_feature_is_missing_here_and_there(files: SampleFiles, name: str) -> None:
    assert 0.01 < sum(cell == "" for cell in column(files.train, name)) / 240 < 0.3


def test_some_rows_lack_a_whole_modality_of_several_columns(files: SampleFiles) -> None:
    texts = zip(column(files.train, "title_text"), column(files.train, "description_text"), strict=True)
    assert any(title == description == "" for title, description in texts)


def test_photos_are_small_jpegs(files: SampleFiles) -> None:
    for cell in filter(None, column(files.test, "photo_image")):
        image = Image.open(io.BytesIO(base64.b64decode(cell, validate=True)))
        image.load()
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (128, 128))


def test_cells_hold_what_a_parser_must_cope_with(files: SampleFiles) -> None:
    text = files.train.read_text(encoding="utf-8")
    assert '"Casa, S.A."' in text
    assert '""' in text
    assert "Åkesson" in text


def test_the_table_with_own_names_has_the_same_kinds_of_columns(tmp_path: Path) -> None:
    table, photos = write_own_table(tmp_path, rows=60)
    found = find_kinds(TableFormat.of(HyperParameters.parse({"label": "category", "id": "sku"})), table)
    assert found.kinds == {
        "title": "text", "description": "text", "price": "num", "weight": "num", "colour": "cat", "maker": "cat",
        "listed": "date:dmy", "photo": "image",
    }  # fmt: skip
    with table.open(newline="") as stream:
        named = {row["photo"] for row in csv.DictReader(stream)} - {""}
    assert named == {path.name for path in photos.iterdir()}
