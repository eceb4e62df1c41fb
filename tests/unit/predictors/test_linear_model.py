from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge

from multimodal_algo.config.recipes import ModelSettings
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.linear import Blocks
from multimodal_algo.core.linear_fit import fit_linear
from multimodal_algo.core.task import Task
from multimodal_algo.ingest.features import VectorColumn
from multimodal_algo.predictors.base import FitSettings
from multimodal_algo.predictors.inputs import Inputs
from multimodal_algo.predictors.linear_features import LinearFeatures
from multimodal_algo.predictors.tabular import AutoGluonPredictor


def blocks(rows: int, seed: int) -> Blocks:
    generator = np.random.default_rng(seed)
    words = sparse.random(rows, 30, density=0.1, format="csr", dtype=np.float32, random_state=seed)
    return Blocks(words, generator.normal(size=(rows, 5)).astype(np.float32) / 3)


@pytest.mark.fits
def test_softmax_regression_finds_the_weights_that_scikit_learn_finds() -> None:
    columns = blocks(400, seed=0)
    labels = np.argmax(columns.dense[:, :3] + columns.sparse[:, :3].toarray(), axis=1)
    found = fit_linear(columns, labels, n_classes=3, strength=2.0, max_iterations=1000)
    whole = np.hstack([columns.sparse.toarray(), columns.dense])
    expected = LogisticRegression(C=2.0, max_iter=5000, tol=1e-8).fit(whole, labels)
    ours = np.argmax(found.scores(columns), axis=1)
    assert (ours == expected.predict(whole)).mean() > 0.995
    centered = found.weights - found.weights.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(centered.T, expected.coef_ - expected.coef_.mean(axis=0), atol=0.04)


@pytest.mark.fits
def test_least_squares_finds_the_weights_that_scikit_learn_finds() -> None:
    columns = blocks(300, seed=1)
    values = columns.dense @ np.arange(5, dtype=np.float32) + 2
    found = fit_linear(columns, values, n_classes=None, strength=1.0, max_iterations=1000)
    whole = np.hstack([columns.sparse.toarray(), columns.dense])
    expected = Ridge(alpha=1.0).fit(whole, values)
    np.testing.assert_allclose(found.weights[:, 0], expected.coef_, atol=0.02)


def table() -> tuple[pd.DataFrame, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = np.arange(240) % 3
    words = np.array(["red apple", "green pear", "blue plum"])
    vectors = generator.normal(size=(240, 6)).astype(np.float16)
    vectors[:, 0] += labels
    column = VectorColumn(vectors, np.where(np.arange(240) % 10, np.arange(240), -1))
    cells = Inputs({"photo_image.vector": column}, 240).frame()
    frame = pd.DataFrame(
        {
            "title_text": words[labels],
            "shop_cat": pd.Categorical(generator.choice(["a", "b"], 240)),
            "price_num": generator.normal(size=240) + labels,
        }
    )
    return pd.concat([frame, cells], axis=1), labels


def test_an_absent_cell_adds_no_vector_and_an_unseen_category_is_no_error() -> None:
    frame, _ = table()
    encoder = LinearFeatures(max_words=100)
    encoder.fit_transform(frame)
    row = frame.iloc[[1]].assign(title_text="", shop_cat=pd.Categorical(["new"]))
    row["photo_image.vector"] = pd.Series([None], index=row.index, dtype=object)
    found = encoder.transform(row)
    assert not found.dense.any()
    assert found.sparse.nnz <= 3  # the number's bin, rare categories, and that there is no vector


def test_rows_of_vectors_have_length_one_on_average() -> None:
    frame, _ = table()
    found = LinearFeatures(max_words=100).fit_transform(frame[["photo_image.vector"]])
    there = found.dense.any(axis=1)
    assert np.square(found.dense[there]).sum(axis=1).mean() == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("text", ["東京の天気は晴れ", "สวัสดีครับ"])
def test_scripts_without_spaces_have_words(text: str) -> None:
    frame = pd.DataFrame({"title_text": [text, text[:3], text[-3:]]})
    assert LinearFeatures(max_words=100).fit_transform(frame).sparse.shape[1] >= 3


def settings(task: Task, model_settings: ModelSettings, scratch: Path) -> FitSettings:
    return FitSettings(
        name="text", task=task, model_settings=model_settings, seed=0, scratch=scratch / "fit",
        budget=Budget.starting_now(60),
    )  # fmt: skip


@pytest.mark.fits
def test_a_predictor_is_honest_about_rows_that_it_has_seen(tmp_path: Path) -> None:
    """Labels that nothing explains: out-of-fold predictions must not be better than the frequencies."""
    frame, _ = table()
    labels = np.random.default_rng(5).integers(0, 3, len(frame))
    folds = np.arange(len(frame)) % 4
    predictor, held_out = AutoGluonPredictor.fit(
        frame, labels, folds, settings(Task.of_classes(3), {"WIDE": {}}, tmp_path)
    )
    assert -np.log(held_out[np.arange(240), labels]).mean() > 1.0
    assert (predictor.predict(frame).argmax(axis=1) == labels).mean() > 0.4


@pytest.mark.fits
def test_a_class_of_one_row_is_kept(tmp_path: Path) -> None:
    frame, labels = table()
    labels[7] = 3
    models = {"WIDE": {}, "GBM": {"num_boost_round": 10}}
    predictor, held_out = AutoGluonPredictor.fit(
        frame, labels, np.arange(240) % 4, settings(Task.of_classes(4), models, tmp_path)
    )
    assert held_out.shape == (240, 4)
    assert predictor.predict(frame)[:, 3].max() > 0


@pytest.mark.fits
def test_numbers_are_fitted(tmp_path: Path) -> None:
    frame, labels = table()
    prices = labels * 1000.0
    predictor, held_out = AutoGluonPredictor.fit(
        frame, prices, np.arange(240) % 4, settings(Task.regression(), {"WIDE": {}}, tmp_path)
    )
    assert held_out.shape == (240, 1)
    assert np.abs(held_out[:, 0] - prices).mean() < 150
    predictor.save(tmp_path / "saved")
    np.testing.assert_allclose(
        AutoGluonPredictor.load(tmp_path / "saved").predict(frame), predictor.predict(frame), rtol=1e-5
    )


@pytest.mark.fits
@pytest.mark.parametrize(("offset", "unit"), [(1.7e9, 3.0), (0.0, 1e-12), (1e15, 64.0), (-5.0, 1e200)])
def test_predicted_numbers_keep_the_digits_of_their_labels(offset: float, unit: float, tmp_path: Path) -> None:
    frame, labels = table()

    def fit(numbers: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
        how = settings(Task.regression(), {"WIDE": {}, "GBM": {"num_boost_round": 20}}, tmp_path / name)
        predictor, held_out = AutoGluonPredictor.fit(frame, numbers, np.arange(240) % 4, how)
        predictor.save(tmp_path / name / "saved")
        return held_out, AutoGluonPredictor.load(tmp_path / name / "saved").predict(frame)

    for plain, shifted in zip(fit(labels * 1.0, "plain"), fit(offset + unit * labels, "shifted"), strict=True):
        np.testing.assert_allclose((shifted - offset) / unit, plain, atol=1e-3)


@pytest.mark.fits
def test_as_many_rows_are_fitted_as_memory_allows_and_all_are_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, labels = table()
    monkeypatch.setattr("multimodal_algo.predictors.tabular_fit.available_bytes", lambda: 0)
    monkeypatch.setattr("multimodal_algo.predictors.tabular_fit._LEAST_ROWS", 100)
    predictor, held_out = AutoGluonPredictor.fit(
        frame, labels, np.arange(240) % 4, settings(Task.of_classes(3), {"WIDE": {}}, tmp_path)
    )
    assert np.allclose(held_out.sum(axis=1), 1, atol=1e-4)
    assert (held_out.argmax(axis=1) == labels).mean() > 0.9
    assert len(predictor.predict(frame)) == 240


@pytest.mark.fits
@pytest.mark.parametrize(("budget_s", "fitted"), [(60.0, 1400), (0.0, 1000)])
def test_the_cheapest_model_is_fitted_to_all_rows_that_the_time_allows(
    budget_s: float, fitted: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table, labels = noisy(1400, is_informative=True, seed=0)
    trees_take_no_texts: ModelSettings = {"GBM": {}}
    settings = FitSettings("text", Task.of_classes(6), trees_take_no_texts, 0, tmp_path, Budget.starting_now(budget_s))
    _, votes = AutoGluonPredictor.fit(table[["a_text"]], labels, np.arange(1400) % 4, settings)
    assert f"fitting the cheapest to {fitted} of 1400 rows" in caplog.text
    losses = re.findall(r"held-out loss is ([.\d]+) with 1000 rows and ([.\d]+) with half", caplog.text)
    assert [float(of_all) < float(of_half) for of_all, of_half in losses] == [True] * (fitted < 1400)
    assert (votes.argmax(axis=1) == labels).mean() > 0.4


def noisy(rows: int, *, is_informative: bool, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Texts that name the class mostly, and categories that do so, or that are noise."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 6, rows)
    words = np.where(generator.random((rows, 4)) < 0.45, labels[:, None], generator.integers(0, 6, (rows, 4)))
    texts = [" ".join(f"word{n}x{generator.integers(5)}" for n in row) for row in words]
    table = pd.DataFrame({"a_text": texts})
    for column in range(5):
        values = generator.integers(0, 60, rows)
        if is_informative:
            values = np.where(generator.random(rows) < 0.5, labels, values)
        table[f"{column}_cat"] = pd.Categorical([f"value {n}" for n in values])
        table[f"{column}_cat.words"] = [f"value {n}" for n in values]
    return table, labels


def held_out_loss(table: pd.DataFrame, labels: np.ndarray, settings: dict[str, object], scratch: Path) -> float:
    folds = np.arange(len(table)) % 4
    models: ModelSettings = {"WIDE": settings}
    fit_settings = FitSettings("any", Task.of_classes(6), models, 0, scratch, Budget.starting_now(600))
    _, votes = AutoGluonPredictor.fit(table, labels, folds, fit_settings)
    return float(-np.log(votes[np.arange(len(labels)), labels]).mean())


@pytest.mark.fits
@pytest.mark.parametrize("is_informative", [False, True])
def test_numbers_and_categories_do_not_drown_a_text(is_informative: bool, tmp_path: Path) -> None:
    table, labels = noisy(400, is_informative=is_informative, seed=0)
    both = held_out_loss(table, labels, {"C": 3}, tmp_path)
    fixed = {weight: held_out_loss(table, labels, {"C": 3, "plain": weight}, tmp_path) for weight in (1.0, 0.25)}
    assert both < min(fixed.values()) + 0.01
    assert (fixed[0.25] < fixed[1.0]) is not is_informative


@pytest.mark.fits
def test_votes_for_new_rows_are_as_sure_as_those_for_held_out_rows(tmp_path: Path) -> None:
    """AutoGluon scales predictions for new rows alone, from 500 rows on, unless it is asked not to."""
    table, labels = noisy(1400, is_informative=True, seed=0)
    settings = FitSettings("any", Task.of_classes(6), {"WIDE": {"C": 0.1}}, 0, tmp_path, Budget.starting_now(600))
    fitted, votes = AutoGluonPredictor.fit(table[:700], labels[:700], np.arange(700) % 10, settings)
    new = fitted.predict(table[700:])
    assert new.max(axis=1).mean() == pytest.approx(votes.max(axis=1).mean(), rel=0.06)
