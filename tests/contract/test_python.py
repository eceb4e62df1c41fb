"""The Python interface on real models: data frames of all kinds, and the answers that the server gives."""

from __future__ import annotations

import base64
import csv
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

import multimodal_algo
from multimodal_algo.core.errors import UserError
from multimodal_algo.serving.loaded_model import LoadedModel
from multimodal_algo.tools.prepare import prepare_data


@pytest.fixture(scope="module")
def model(archive: Path) -> multimodal_algo.Model:
    return multimodal_algo.load(archive.parent)


@pytest.fixture(scope="module")
def frame(sample: Path) -> pd.DataFrame:
    rows = pd.read_csv(sample / "test.csv", dtype={"ID": str})
    return rows.set_axis([f"row {number}" for number in range(len(rows))])


@pytest.fixture(scope="module")
def probabilities(model: multimodal_algo.Model, frame: pd.DataFrame) -> pd.DataFrame:
    return model.predict_proba(frame)


def test_answers_are_those_of_the_server(
    model: multimodal_algo.Model, artifact: Path, sample: Path, frame: pd.DataFrame, probabilities: pd.DataFrame
) -> None:
    with (sample / "test_noheader.csv").open(encoding="utf-8", newline="") as stream:
        served = LoadedModel.load(artifact).predict(list(csv.reader(stream)))
    np.testing.assert_allclose(probabilities.to_numpy(), served, atol=1e-6)
    assert list(probabilities.columns) == list(model.classes)
    labels = model.predict(frame)
    assert list(labels.index) == list(probabilities.index) == list(frame.index)
    assert list(labels) == list(probabilities.idxmax(axis=1))
    assert model.evaluate(frame, ["accuracy"]) == {"accuracy": (labels == frame["label"]).mean()}


def test_rules_are_the_models_own_or_those_of_the_call(
    model: multimodal_algo.Model, frame: pd.DataFrame, probabilities: pd.DataFrame
) -> None:
    frame, probabilities = frame.head(8), probabilities.head(8)
    plain = model.predict(frame)
    certain = probabilities.max(axis=1)
    limit = float(certain.median())
    decided = model.decide(frame, abstain_below=limit, review_label="bitte")
    assert list(decided["best_guess"]) == list(plain)
    assert list(decided["predicted_label"] == "bitte") == list(certain < limit)
    name = model.classes[0]
    flagged = model.predict(frame, decision_threshold={name: 0.05})
    assert list(flagged == name) == list(probabilities[name] >= 0.05)
    with pytest.raises(UserError, match="There is no setting 'threshold'"):
        model.predict(frame, threshold=0.5)


def encoded(cell: Any) -> list[bytes] | None:
    return None if isinstance(cell, float) else [base64.b64decode(part) for part in cell.split(";")]


def opened(cell: Any) -> Any:
    images = encoded(cell)
    return images and [Image.open(io.BytesIO(data)).convert("RGB") for data in images]


@pytest.mark.parametrize(
    "convert",
    [
        pl.from_pandas,
        pa.Table.from_pandas,
        lambda frame: frame.to_dict("records"),
        lambda frame: frame.to_dict("list"),
        lambda frame: frame.convert_dtypes().drop(columns="label"),
        lambda frame: frame[frame.columns[::-1]].assign(more=object()),
        lambda frame: frame.assign(photo_image=[encoded(cell) for cell in frame["photo_image"]]),
        lambda frame: frame.assign(photo_image=[opened(cell) for cell in frame["photo_image"]]),
    ],
    ids=["polars", "pyarrow", "dicts", "columns", "nullable", "other order", "bytes", "PIL"],
)
def test_every_kind_of_data_gets_the_same_answers(
    model: multimodal_algo.Model, frame: pd.DataFrame, probabilities: pd.DataFrame, convert: Callable[[Any], Any]
) -> None:
    few = frame.head(12)
    answers = model.predict_proba(convert(few)).to_numpy()
    np.testing.assert_allclose(answers, probabilities.head(12).to_numpy(), atol=0.02 if convert is opened else 1e-5)


def test_sets_hold_the_label_of_most_rows(
    model: multimodal_algo.Model, frame: pd.DataFrame, probabilities: pd.DataFrame
) -> None:
    sets = model.predict_set(frame, coverage=0.8)
    assert list(sets.index) == list(frame.index)
    assert list(sets.str[0]) == list(probabilities.idxmax(axis=1))
    assert np.mean([label in labels for label, labels in zip(frame["label"], sets, strict=True)]) >= 0.65
    assert model.predict_set(frame, coverage=0.99).str.len().sum() >= sets.str.len().sum()
    with pytest.raises(UserError, match=r"coverage is '90': it must be a number from 0.5 to 0.999"):
        model.predict_set(frame, coverage=90)
    with pytest.raises(UserError, match="The model predicts classes, which have no intervals"):
        model.predict_interval(frame)


def test_images_may_be_paths(model: multimodal_algo.Model, frame: pd.DataFrame, tmp_path: Path) -> None:
    row = frame[frame["photo_image"].notna()].iloc[:1]
    path = tmp_path / "photo.jpg"
    path.write_bytes((encoded(row["photo_image"].iloc[0]) or [])[0])
    expected = model.predict_proba(row.assign(photo_image=[path.read_bytes()])).to_numpy()
    for cell in (path, str(path)):
        np.testing.assert_array_equal(model.predict_proba(row.assign(photo_image=[cell])).to_numpy(), expected)
    with pytest.raises(UserError, match=r"the image .* cannot be read"):
        model.predict(row.assign(photo_image=[tmp_path / "other.jpg"]))


def test_the_leaderboard_has_all_branches_and_the_fusion(model: multimodal_algo.Model, frame: pd.DataFrame) -> None:
    board = model.leaderboard(frame)
    assert board.index.name == "log_loss"
    assert set(board.index) == {*model.metrics["modalities"], "fusion"}
    assert list(board["score_test"]) == sorted(board["score_test"])
    assert board.loc["fusion", "score_test"] == pytest.approx(model.evaluate(frame)["log_loss"])
    assert model.leaderboard().loc["fusion", "score_val"] == model.metrics["fused"]["log_loss"]


def test_importance_says_which_columns_matter(model: multimodal_algo.Model, frame: pd.DataFrame) -> None:
    table = model.feature_importance(frame.assign(colour_cat="red"), repeats=2)
    assert set(table.index) == set(model.columns)
    assert table.loc["colour_cat", "importance"] == 0
    assert table["importance"].iloc[0] > 0.05
    assert (table["low"] <= table["importance"]).all()
    assert set(model.feature_importance(frame, by="modality", repeats=2).index) == {"text", "num", "cat", "image"}


def test_the_effect_of_a_cell_is_what_the_answer_loses_without_it(
    model: multimodal_algo.Model, frame: pd.DataFrame
) -> None:
    rows = frame.head(6)
    effects = model.explain(rows)
    assert list(effects.columns) == list(model.columns)
    whole = model.predict_proba(rows)
    for column, empty in (("photo_image", None), ("price_num", None), ("title_text", "")):
        without = model.predict_proba(rows.assign(**{column: empty}))
        for row, answer in whole.idxmax(axis=1).items():
            loss = whole.loc[row, answer] - without.loc[row, answer]
            assert effects.loc[row, column] == pytest.approx(loss, abs=1e-4)


def test_vectors_are_empty_where_cells_are(model: multimodal_algo.Model, frame: pd.DataFrame) -> None:
    vectors = model.embed(frame)
    photos = vectors.filter(like="photo_image_")
    assert list(vectors.index) == list(frame.index)
    assert list(photos.isna().all(axis=1)) == list(frame["photo_image"].isna())
    assert not photos.dropna().isna().any(axis=None)


def test_a_row_that_cannot_be_read_is_refused_or_empty(model: multimodal_algo.Model, frame: pd.DataFrame) -> None:
    rows = frame.head(3).assign(price_num=["12", "12kg", "12"])
    with pytest.raises(UserError, match="Row 1: column price_num: '12kg' is not a finite number"):
        model.predict(rows)
    assert list(model.predict(rows, on_bad_row="empty").isna()) == [False, True, False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, frame: model.predict(frame.drop(columns="price_num")), "The data lack the column 'price_num'."),
        (lambda model, frame: model.predict(3), "The data are of the type int."),
        (lambda model, frame: model.evaluate(frame.head(0)), "The data have no row."),
        (lambda model, frame: model.evaluate(frame.drop(columns="label")), "The data lack the column 'label'."),
        (lambda model, frame: model.evaluate(frame.assign(label="?")), "The label '?' is not a class of the model."),
        (lambda model, frame: model.evaluate(frame, ["rmse"]), "There is no metric 'rmse' for multiclass."),
        (lambda model, frame: model.feature_importance(frame, by="branch"), "by is 'branch'"),
        (lambda model, frame: model.predict(frame, on_bad_row="skip"), "on_bad_row is 'skip'"),
        (lambda model, frame: multimodal_algo.load("nowhere"), "there is no such file or folder"),
    ],
)
def test_mistakes_are_named(
    model: multimodal_algo.Model, frame: pd.DataFrame, call: Callable[[Any, Any], Any], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        call(model, frame)


def test_a_data_frame_with_own_names_is_trained_on(tmp_path: Path) -> None:
    rows = np.arange(80)
    works = np.where(rows % 7 > 2, "yes", "no")
    frame = pd.DataFrame({"size": rows % 7, "sku": rows, "kind": np.where(rows % 3, "a", "b"), "works": works})
    frame["kind"] = frame["kind"].astype("category")
    frame["sold"] = pd.Timestamp("2024-01-31") + pd.to_timedelta(rows % 5, unit="D")
    model = multimodal_algo.fit(
        frame, label="works", id="sku", quality="toy", n_secs=5, output=tmp_path / "job", verbose=False,
        inference_output=["predicted_label", "probability"],
    )  # fmt: skip
    assert model.columns == {"size": "num", "kind": "cat", "sold": "date"}
    assert set(model.feature_importance(frame, repeats=2).index) == {"size", "kind", "sold"}
    assert model.label == "works"
    assert model.evaluate(frame)["accuracy"] > 0.9
    assert (tmp_path / "job/output/data/report.html").is_file()
    (tmp_path / "new.csv").write_text("sold,kind,size,sku\n2024-02-01,a,1,7\n")
    prepare_data(tmp_path / "new.csv", tmp_path / "lines.csv", model=tmp_path / "job/model.tar.gz")
    assert (tmp_path / "lines.csv").read_text() == "1,7,a,2024-02-01\n"
    shutil.rmtree(tmp_path / "job")
    assert model.predict(frame.head(0)).empty
    assert model.predict({"size": 1, "kind": "a", "sold": "2024-02-01"}).tolist() == ["no"]
    with pytest.raises(UserError, match="there is no column 'worked' among 'size', 'sku', 'kind', 'works'"):
        multimodal_algo.fit(frame, label="worked", quality="toy", n_secs=5, verbose=False)


def test_the_examples_of_the_page_run(
    archive: Path, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[2] / "docs/python.md"
    here, _ = page.read_text(encoding="utf-8").split("\n## On SageMaker\n")  # tests/notebooks run the rest
    blocks = re.findall(r"```python\n(.*?)```", here, re.DOTALL)
    assert "fit(" in blocks[0]  # another test trains
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).symlink_to(sample / name)
    (tmp_path / "job").symlink_to(archive.parent)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"multimodal_algo": multimodal_algo, "pd": pd}
    for block in blocks[1:]:
        exec(block, names)
    assert len(names["rows"]) == 40
