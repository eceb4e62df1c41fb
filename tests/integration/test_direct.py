"""Served models answer as AutoGluon's predictors do."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from multimodal_algo.config.recipes import RECIPES, Branch
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.task import Task
from multimodal_algo.predictors.tabular import AutoGluonPredictor
from multimodal_algo.serving.loaded_model import LoadedModel


def test_the_sample_is_answered_as_by_predict_proba(artifact: Path, sample: Path) -> None:
    with (sample / "test_noheader.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    predictor = LoadedModel.load(artifact)
    features, _ = predictor.features(rows)
    direct = predictor.vectors(features)
    for model in predictor._models:
        assert model._head._direct is not None  # type: ignore[union-attr]
        model._head._direct = None  # type: ignore[union-attr]
    np.testing.assert_allclose(direct, predictor.vectors(features), atol=1e-6)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("quality", ["very_light", "default"])
def test_every_problem_type_and_kind_of_model_is_answered_alike(kind: str, quality: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    inputs = pd.DataFrame({"a_num": random.normal(size=240), "b_num": random.integers(0, 9, 240).astype(float)})
    values = inputs["a_num"] + inputs["b_num"] / 4 + random.normal(scale=0.3, size=240)
    task = Task.regression() if kind == "regression" else Task.of_classes(2 if kind == "binary" else 3)
    targets = values.to_numpy() if kind == "regression" else pd.qcut(values, task.outputs, labels=False).to_numpy()
    head, _ = AutoGluonPredictor.fit(
        inputs,
        targets,
        np.arange(240) % 4,
        task=task,
        models=RECIPES[quality].models[Branch.NUM],
        budget=Budget.starting_now(120),
        seed=0,
        path=tmp_path / "fit" / "predictor",
    )
    head.save(tmp_path / "saved")
    loaded = AutoGluonPredictor.load(tmp_path / "saved")
    assert loaded._direct is not None
    np.testing.assert_allclose(loaded.predict(inputs), head.predict(inputs), rtol=1e-5, atol=1e-6)
