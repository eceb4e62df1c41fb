from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from multimodal_algo.config.recipes import RECIPES, Branch, ModelSettings
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.task import Task
from multimodal_algo.ingest.features import VectorColumn
from multimodal_algo.predictors.base import FitSettings
from multimodal_algo.predictors.ensemble import Ensemble
from multimodal_algo.predictors.inputs import Inputs
from multimodal_algo.predictors.stored_models import BoostedTrees, LinearPredictor
from multimodal_algo.predictors.tabular import AutoGluonPredictor
from multimodal_algo.predictors.tree_features import TreeFeatures

TREES: ModelSettings = {"TREES": {"num_boost_round": 60, "learning_rate": 0.2, "num_leaves": 8, "min_data_in_leaf": 5}}


def goods(rows: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Goods whose word turns the meaning of a number around. Every fifth row has no vector."""
    random = np.random.default_rng(0)
    is_sold, amount = random.integers(0, 2, rows), random.normal(size=rows)
    vectors = random.normal(size=(rows, 4)).astype(np.float16)
    index = np.where(np.arange(rows) % 5, np.arange(rows), -1)
    columns = {"title_text": np.array(["for rent", "on sale"])[is_sold], "amount_num": amount}
    table = pd.concat(
        [pd.DataFrame(columns), Inputs({"photo_image.vector": VectorColumn(vectors, index)}, len(index)).frame()],
        axis=1,
    )
    return table, (2 * is_sold - 1) * amount


def fit(task: Task, targets: np.ndarray, models: ModelSettings, scratch: Path) -> tuple[AutoGluonPredictor, np.ndarray]:
    table, _ = goods(len(targets))
    settings = FitSettings("joint", task, models, 0, scratch, Budget.starting_now(600))
    return AutoGluonPredictor.fit(table, targets, np.arange(len(targets)) % 3, settings)


@pytest.mark.fits
def test_trees_learn_what_a_word_means_next_to_a_number(tmp_path: Path) -> None:
    table, targets = goods(300)
    predictor, held_out = fit(Task.regression(), targets, TREES, tmp_path)
    assert ((held_out[:, 0] - targets) ** 2).mean() < 0.4 * targets.var()  # a linear model explains nothing
    predictor.save(tmp_path / "saved")
    loaded = AutoGluonPredictor.load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.predict(table), predictor.predict(table), rtol=1e-6)
    np.testing.assert_allclose(loaded.predict(table.iloc[[5]]), predictor.predict(table)[[5]], rtol=1e-6)


@pytest.mark.fits
def test_names_that_lightgbm_refuses_change_nothing(tmp_path: Path) -> None:
    """AutoGluon renames such columns, and the suffix that says what a column of vectors is must stay."""
    table, targets = goods(120)
    named = table.rename(columns=lambda name: f'my "{name.partition("_")[0]}", [as: it] was_{name.partition("_")[2]}')
    settings = FitSettings("joint", Task.regression(), TREES, 0, tmp_path, Budget.starting_now(600))
    (plain, expected), (renamed, held_out) = (
        AutoGluonPredictor.fit(columns, targets, np.arange(120) % 3, settings) for columns in (table, named)
    )
    np.testing.assert_array_equal(held_out, expected)
    np.testing.assert_array_equal(renamed.predict(named), plain.predict(table))


@pytest.mark.fits
def test_the_recipe_fits_trees_over_all_columns_to_numbers_and_not_to_classes(tmp_path: Path) -> None:
    _, targets = goods(120)
    models = RECIPES["very_light"].models[Branch.JOINT]

    def fitted(task: Task, labels: np.ndarray) -> set[str]:
        ensemble = fit(task, labels, models, tmp_path)[0]._models
        assert isinstance(ensemble, Ensemble)
        return {model.kind for _, model in ensemble.members}

    assert BoostedTrees.kind in fitted(Task.regression(), targets)
    assert fitted(Task.of_classes(2), (targets > 0).astype(int)) == {LinearPredictor.kind}


def test_columns_without_words_and_vectors_stay_as_they_are() -> None:
    table = goods(10)[0][["amount_num"]]
    features = TreeFeatures()
    features.fit(table)
    assert not features.rich
    assert features.transform(table).shape == (10, 0)


def test_rows_without_a_known_word_or_a_vector_have_components() -> None:
    table, _ = goods(40)
    features = TreeFeatures()
    features.fit(table)
    new = table.iloc[[5]].assign(title_text="unheard")
    assert new["photo_image.vector"].isna().all()
    found = features.transform(new)
    assert found.shape == (1, features.transform(table).shape[1])
    assert np.isfinite(found).all()


def test_components_are_no_rounding_errors_of_repeated_cells() -> None:
    """Rounding differs with the number of rows, so trees that split it would answer a row differently in a batch."""
    vectors = np.random.default_rng(0).normal(size=(3, 40)).astype(np.float16)
    table = Inputs({"photo_image.vector": VectorColumn(vectors, np.arange(60) % 3)}, 60).frame()
    features = TreeFeatures()
    features.fit(table)
    assert features.transform(table).std(axis=0).min() > 1e-3
