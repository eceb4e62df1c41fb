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
from multimodal_algo.predictors.base import FitSettings
from multimodal_algo.predictors.tabular import AutoGluonPredictor
from multimodal_algo.serving.loaded_model import LoadedModel


def test_the_sample_is_answered_as_by_predict_proba(artifact: Path, sample: Path) -> None:
    with (sample / "test_noheader.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    predictor = LoadedModel.load(artifact)
    features, _ = predictor.features(rows)
    direct = predictor.votes(features).array
    for model in predictor._models:
        assert model._predictor._fast is not None  # type: ignore[union-attr]
        model._predictor._fast = None  # type: ignore[union-attr]
    np.testing.assert_allclose(direct, predictor.votes(features).array, atol=1e-6)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("quality", ["very_light", "default"])
def test_every_problem_type_and_kind_of_model_is_answered_alike(kind: str, quality: str, tmp_path: Path) -> None:
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
    fitted, _ = AutoGluonPredictor.fit(inputs, targets, np.arange(240) % 4, settings)
    fitted.save(tmp_path / "saved")
    loaded = AutoGluonPredictor.load(tmp_path / "saved")
    assert loaded._fast is not None
    np.testing.assert_allclose(loaded.predict(inputs), fitted.predict(inputs), rtol=1e-5, atol=1e-6)
