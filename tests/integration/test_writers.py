"""One table, whoever wrote it and in whichever format, is one table: for training, and for every answer."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_job import UNHURRIED

from multimodal_algo.config.transform import BatchStrategy, TransformSettings
from multimodal_algo.core.labels import Target
from multimodal_algo.execution.local import LocalExecutor
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.findings import BadRowPolicy
from multimodal_algo.ingest.parts import ReadSettings
from multimodal_algo.ingest.reading import read_channel
from multimodal_algo.local import ChannelData, TrainingJob, train
from multimodal_algo.local.transform import transform
from multimodal_algo.serving.decoding import Kind, decode
from multimodal_algo.serving.loaded_model import LoadedModel

MakeOnce = Callable[[str, Callable[[Path], object]], Path]
ROWS = 120


def table(rows: int, seed: int) -> pd.DataFrame:
    """Return a table with all that writers spell in their own ways: gaps, whole numbers, booleans, dates, marks."""
    random = np.random.default_rng(seed)
    rooms = random.integers(1, 4, rows)
    is_new = random.integers(0, 2, rows)
    shade = random.integers(0, 3, rows)
    label = (rooms + 2 * is_new + shade + random.integers(0, 2, rows)) % 3 + 1
    gap = random.random(rows) < 0.2
    return pd.DataFrame(
        {
            "ID": 9_007_199_254_740_993 + np.arange(rows),
            "rooms_cat": pd.Series(rooms).mask(gap).astype("Int64"),
            "new_cat": pd.Series(is_new == 1).mask(np.roll(gap, 1)).astype("boolean"),
            "shade_cat": pd.Series(np.array(["rosso", "Caf\u00e9", "b, c"])[shade]).mask(np.roll(gap, 2)),
            "ratio_cat": pd.Series(np.array([0.5, 1.0, 2.25])[shade]).mask(np.roll(gap, 3)),
            "size_num": pd.Series(random.normal(rooms, 0.3)).round(3).mask(np.roll(gap, 4)),
            "label": label,
        }
    )


def as_pandas(frame: pd.DataFrame, kind: str, path: Path) -> None:
    # Without its nullable types, pandas makes numbers of gaps: 1.0, and True beside an empty cell.
    frame = frame.assign(
        rooms_cat=frame["rooms_cat"].astype("float64"),
        new_cat=frame["new_cat"].astype(object).where(frame["new_cat"].notna(), None),
    )
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=kind == "jsonl")


def as_polars(frame: pd.DataFrame, kind: str, path: Path) -> None:
    rows = pl.from_arrow(pa.Table.from_pandas(frame, preserve_index=False))
    assert isinstance(rows, pl.DataFrame)
    {"csv": rows.write_csv, "jsonl": rows.write_ndjson, "json": rows.write_json, "parquet": rows.write_parquet}[kind](
        path
    )


def as_arrow(frame: pd.DataFrame, kind: str, path: Path) -> None:
    rows = pa.Table.from_pandas(frame, preserve_index=False)
    if kind == "csv":
        pa.csv.write_csv(rows, path)
    else:
        pa.parquet.write_table(rows, path)


def as_duckdb(frame: pd.DataFrame, kind: str, path: Path) -> None:
    with duckdb.connect() as connection:
        connection.register("rows", pa.Table.from_pandas(frame, preserve_index=False))
        form = {
            "csv": "FORMAT csv, HEADER",
            "jsonl": "FORMAT json",
            "json": "FORMAT json, ARRAY true",
            "parquet": "FORMAT parquet",
        }
        connection.execute(f"COPY rows TO '{path}' ({form[kind]})")


def as_standard(frame: pd.DataFrame, kind: str, path: Path) -> None:
    rows = [[None if pd.isna(cell) else cell for cell in row] for row in frame.astype(object).to_numpy().tolist()]
    with path.open("w", encoding="utf-8", newline="") as stream:
        if kind == "csv":
            csv.writer(stream).writerows([list(frame.columns), *rows])
            return
        objects = [dict(zip(frame.columns, row, strict=True)) for row in rows]
        if kind == "json":
            json.dump(objects, stream)
        else:
            stream.writelines(json.dumps(entry) + "\n" for entry in objects)


WRITERS = {"pandas": as_pandas, "polars": as_polars, "pyarrow": as_arrow, "duckdb": as_duckdb, "standard": as_standard}
WRITTEN = [
    (writer, kind)
    for writer in WRITERS
    for kind in ("csv", "jsonl", "json", "parquet")
    if not (writer == "pyarrow" and kind.startswith("json")) and not (writer == "standard" and kind == "parquet")
]
KINDS = {"csv": Kind.CSV, "jsonl": Kind.JSON_LINES, "json": Kind.JSON, "parquet": Kind.PARQUET}


def read(path: Path, scratch: Path) -> tuple[Dataset, Target]:
    settings = ReadSettings(BadRowPolicy())
    read_channel(
        path, scratch / "data", lambda schema: {}, settings, executor=LocalExecutor(), scratch=scratch / "parts"
    )
    dataset = Dataset.read(scratch / "data")
    return dataset.with_number_categories(dataset.find_number_categories()), Target.of(dataset.labels, "auto")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Target]:
    directory = tmp_path_factory.mktemp("expected")
    as_arrow(table(ROWS, 1), "parquet", directory / "train.parquet")
    return read(directory / "train.parquet", directory)


@pytest.mark.parametrize(("writer", "kind"), [pair for pair in WRITTEN if pair[1] in ("csv", "parquet")])
def test_training_reads_one_table(writer: str, kind: str, expected: tuple[Dataset, Target], tmp_path: Path) -> None:
    WRITERS[writer](table(ROWS, 1), kind, tmp_path / f"train.{kind}")
    dataset, target = read(tmp_path / f"train.{kind}", tmp_path)
    assert dataset.number_categories == {"rooms_cat", "ratio_cat"}
    pd.testing.assert_frame_equal(dataset.features.table, expected[0].features.table)
    assert np.array_equal(target.values, expected[1].values)
    assert np.array_equal(dataset.keys, expected[0].keys)
    assert dataset.names() == expected[0].names()


@pytest.fixture(scope="module")
def trained(make_once: MakeOnce) -> Path:
    """The directory of a model of the table, trained on the CSV file that pandas writes, and of its archive."""

    def fit(directory: Path) -> None:
        as_pandas(table(ROWS, 1), "csv", directory / "train.csv")
        train(TrainingJob({"train": ChannelData(directory / "train.csv")}, UNHURRIED), output=directory / "job")
        with tarfile.open(directory / "job/model.tar.gz") as tar:
            tar.extractall(directory / "model", filter="data")

    return make_once("writers", fit)


@pytest.fixture(scope="module")
def model(trained: Path) -> LoadedModel:
    return LoadedModel.load(trained / "model")


@pytest.fixture(scope="module")
def answers(model: LoadedModel) -> np.ndarray:
    stream = io.BytesIO()
    pa.parquet.write_table(pa.Table.from_pandas(table(40, 2).drop(columns="label"), preserve_index=False), stream)
    return model.predict([record.cells for record in decode(stream.getvalue(), Kind.PARQUET, model.schema).records])


@pytest.mark.parametrize(("writer", "kind"), WRITTEN)
def test_every_row_has_one_answer(
    writer: str, kind: str, model: LoadedModel, answers: np.ndarray, tmp_path: Path
) -> None:
    rows = table(40, 2).drop(columns="label")
    WRITERS[writer](rows, kind, tmp_path / "rows")
    records = decode((tmp_path / "rows").read_bytes(), KINDS[kind], model.schema).records
    records = [record for record in records if not record.is_header]
    assert [record.identity for record in records] == rows["ID"].astype(str).tolist()
    assert model.predict([record.cells for record in records]) == pytest.approx(answers, abs=1e-6)
    parsed: list[dict[str, Any]] = [pending.finish().cells for pending in model.start([r.cells for r in records])]
    assert model.categories is not None
    assert not any(
        model.categories.is_unseen(c, row[c]) for row in parsed for c in model.schema.features if c.endswith("_cat")
    )


def test_processes_that_share_the_requests_of_a_job_answer_in_order(
    trained: Path, model: LoadedModel, tmp_path: Path
) -> None:
    rows = pd.concat([table(400, seed).drop(columns="label") for seed in range(3)])
    rows["ID"] = range(len(rows))
    as_polars(rows, "csv", tmp_path / "all.csv")
    lines = (tmp_path / "all.csv").read_bytes().split(b"\n", 1)[1]
    (tmp_path / "lines.csv").write_bytes(lines)
    (out,) = transform(
        trained / "job/model.tar.gz",
        tmp_path / "lines.csv",
        TransformSettings(max_payload_mb=1, strategy=BatchStrategy.SINGLE_RECORD, max_concurrent_transforms=16),
        output=tmp_path / "out",
    )
    answers = pd.read_csv(out, header=None, dtype=str)
    assert answers[0].tolist() == [str(number) for number in range(len(rows))]
    records = decode(lines, Kind.CSV, model.schema).records
    probabilities = model.predict([record.cells for record in records])
    assert answers[1].tolist() == [model.classes[winner] for winner in probabilities.argmax(axis=1)]
    assert answers[2].astype(float).to_numpy() == pytest.approx(probabilities.max(axis=1), abs=2e-6)


def number_spellings(text: str) -> list[str]:
    """Return spellings of one number."""
    value = Decimal(text)
    return [text, f" {text}", f"{value:e}", f"{value:.4f}", f"+{text}" if value >= 0 else text, f"{text}e0"]


def spellings(column: str, cell: Any) -> list[str]:
    """Return what writers may make of a cell."""
    if pd.isna(cell):
        return ["", "  "] if column != "size_num" else ["", " ", "NaN", "NA"]
    if column == "new_cat":
        return [str(cell), str(cell).lower(), str(cell).upper(), f"{cell} "]
    if column == "shade_cat":
        return [cell, f" {cell}\u00a0", unicodedata.normalize("NFD", cell)]
    return number_spellings(repr(float(cell)) if column in ("ratio_cat", "size_num") else str(cell))


@st.composite
def written_rows(draw: st.DrawFn) -> tuple[list[int], list[str], list[list[str]], str]:
    """Rows of the table, by number, with columns in any order and cells in any spelling, and a format."""
    rows = table(40, 2).drop(columns="label")
    numbers = draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=8))
    columns = list(draw(st.permutations(list(rows.columns))))
    cells = [
        [
            str(rows[column][number])
            if column == "ID"
            else draw(st.sampled_from(spellings(column, rows[column][number])))
            for column in columns
        ]
        for number in numbers
    ]
    return numbers, columns, cells, draw(st.sampled_from(sorted(KINDS)))


def body_of(columns: list[str], cells: list[list[str]], kind: str) -> bytes:
    if kind == "csv":
        text = io.StringIO()
        csv.writer(text).writerows([columns, *cells])
        return text.getvalue().encode()
    if kind == "parquet":
        stream = io.BytesIO()
        pa.parquet.write_table(pa.table(dict(zip(columns, map(list, zip(*cells, strict=True)), strict=True))), stream)
        return stream.getvalue()
    objects = [dict(zip(columns, row, strict=True)) for row in cells]
    return json.dumps(objects).encode() if kind == "json" else "\n".join(map(json.dumps, objects)).encode()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=written_rows())
def test_spelling_order_and_format_change_no_answer(
    model: LoadedModel, answers: np.ndarray, written: tuple[list[int], list[str], list[list[str]], str]
) -> None:
    numbers, columns, cells, kind = written
    records = decode(body_of(columns, cells, kind), KINDS[kind], model.schema).records
    rows = [record for record in records if not record.is_header]
    assert [record.problem for record in rows] == [None] * len(numbers)
    assert model.predict([record.cells for record in rows]) == pytest.approx(answers[numbers], abs=1e-6)
