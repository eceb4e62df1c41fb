"""Served models answer as AutoGluon's predictors do, and without AutoGluon where they have a stored form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from multimodal_algo.config.recipes import RECIPES, Branch
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.task import Task
from multimodal_algo.ingest.features import VectorColumn
from multimodal_algo.predictors import tabular_fit
from multimodal_algo.predictors.autogluon_models import AutoGluonModels
from multimodal_algo.predictors.base import FitSettings
from multimodal_algo.predictors.ensemble import Ensemble
from multimodal_algo.predictors.inputs import CategoryCells, Inputs
from multimodal_algo.predictors.tabular import AutoGluonPredictor

HEAVY = {"torch", "torchvision", "autogluon", "sklearn", "pandas", "lightgbm", "scipy.stats", "transformers"}
ANSWER = """
import csv, sys
from pathlib import Path
from multimodal_algo.serving.loaded_model import LoadedModel
with open(sys.argv[2], newline="", encoding="utf-8") as stream:
    rows = list(csv.reader(stream))[:4]
assert len(LoadedModel.load(Path(sys.argv[1])).predict(rows)) == 4
print(*sys.modules)
"""


def test_a_server_loads_only_what_its_models_need(artifact: Path, sample: Path) -> None:
    assert not list(artifact.rglob("*.pkl"))
    command = [sys.executable, "-c", ANSWER, str(artifact), str(sample / "test_noheader.csv")]
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
    assert not HEAVY & set(done.stdout.split())


def columns_of_every_kind(rows: int, seed: int) -> tuple[Inputs, np.ndarray]:
    """Columns with missing, rare and repeated cells, and numbers that they explain in part."""
    random = np.random.default_rng(seed)
    values = random.normal(size=rows)
    sign = np.where(values > 0, "up", "down")
    vectors = random.normal(size=(rows, 4)).astype(np.float16)
    vectors[:, 0] += values
    texts = [f"{word} {random.integers(9)}" if random.random() > 0.2 else "" for word in sign]
    shops = np.where(random.random(rows) < 0.1, [f"rare {seed} {n}" for n in range(rows)], sign)
    columns = {
        "a_text": np.array(texts, dtype=object),
        "a_text.vector": VectorColumn(vectors, np.where(random.random(rows) < 0.2, -1, np.arange(rows))),
        "b_num": np.where(random.random(rows) < 0.2, np.nan, values),
        "c_cat": CategoryCells.of(shops.tolist()),
        "c_cat.words": shops.astype(object),
    }
    return Inputs(columns, rows), values


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_stored_models_answer_as_those_of_autogluon(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, values = columns_of_every_kind(240, seed=0)
    task = Task.regression() if kind == "regression" else Task.of_classes(2 if kind == "binary" else 3)
    targets = values if kind == "regression" else pd.qcut(values, task.outputs, labels=False)
    trees = {"num_boost_round": 12, "min_data_in_leaf": 5}
    models = {"WIDE": {"C": 1}, "GBM": trees, "TREES": trees}
    theirs: list[AutoGluonModels] = []
    stored = tabular_fit._stored

    def recorded(fitted: AutoGluonModels, *arguments: Any) -> object:
        theirs.append(fitted)
        return stored(fitted, *arguments)

    monkeypatch.setattr(tabular_fit, "_stored", recorded)
    settings = FitSettings("joint", task, models, 0, tmp_path / "fit", Budget.starting_now(120))
    fitted, _ = AutoGluonPredictor.fit(inputs.frame(), targets, np.arange(240) % 4, settings)
    fitted.save(tmp_path / "saved")
    loaded = AutoGluonPredictor.load(tmp_path / "saved")._models
    assert isinstance(loaded, Ensemble)
    asked, _ = columns_of_every_kind(150, seed=1)
    np.testing.assert_allclose(loaded.predict(asked), theirs[0].predict(asked), atol=1e-6)
    again = AutoGluonPredictor.load(tmp_path / "saved")
    again.save(tmp_path / "again")
    np.testing.assert_array_equal(AutoGluonPredictor.load(tmp_path / "again").predict(asked), again.predict(asked))
    one = Inputs.of(asked.frame().iloc[[7]])
    np.testing.assert_allclose(loaded.predict(one)[0], loaded.predict(asked)[7], atol=1e-7)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("quality", ["very_light", "default"])
def test_every_problem_type_and_kind_of_model_is_answered_alike(
    kind: str, quality: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    inputs = pd.DataFrame({"a_num": random.normal(size=240), "b_num": random.integers(0, 9, 240).astype(float)})
    values = inputs["a_num"] + inputs["b_num"] / 4 + random.normal(scale=0.3, size=240)
    task = Task.regression() if kind == "regression" else Task.of_classes(2 if kind == "binary" else 3)
    targets = values.to_numpy() if kind == "regression" else pd.qcut(values, task.outputs, labels=False).to_numpy()
    settings = FitSettings(
        name="num",
        task=task,
        model_settings=RECIPES[quality].models[Branch.NUM],
        seed=0,
        scratch=tmp_path / "fit",
        budget=Budget.starting_now(120),
    )
    monkeypatch.setattr(Ensemble, "of", lambda predictor: None)
    fitted, _ = AutoGluonPredictor.fit(inputs, targets, np.arange(240) % 4, settings)
    fitted.save(tmp_path / "saved")
    loaded = AutoGluonPredictor.load(tmp_path / "saved")
    assert isinstance(loaded._models, AutoGluonModels)
    assert loaded._models._mean is not None
    np.testing.assert_allclose(loaded.predict(inputs), fitted.predict(inputs), rtol=1e-5, atol=1e-6)
