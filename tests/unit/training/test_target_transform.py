from __future__ import annotations

import numpy as np
import pytest

from multimodal_algo.branches.base import TrainingRows
from multimodal_algo.branches.registry import new_models
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.recipes import RECIPES
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.core.task import Task
from multimodal_algo.ingest.features import build_features
from multimodal_algo.training.target_transform import learns_logarithm

SCHEMA = FeatureSchema(("a_num", "b_num", "label"))


def chosen(numbers: np.ndarray, columns: np.ndarray, left_out: int = 0, **parameters: str) -> bool:
    """Whether logarithms are learned. The first `left_out` rows have no fold, because their labels are doubtful."""
    folds = np.where(np.arange(len(numbers)) < left_out, -1, np.arange(len(numbers)) % 4)
    cells = {name: columns[:, number].tolist() for number, name in enumerate(SCHEMA.features)}
    rows = TrainingRows(build_features(SCHEMA, cells, len(numbers), {}), numbers, folds)
    models = new_models(SCHEMA, Task.regression(), RECIPES["toy"].models)
    return learns_logarithm(rows, models, HyperParameters.parse(parameters))


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns, and noise that is skewed."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=(600, 2)), generator.gamma(0.5, size=600)


def test_logarithms_of_prices_are_learned_where_they_predict_better() -> None:
    columns, noise = drawn(0)
    prices = np.exp(3 + columns.sum(axis=1) + 0.1 * noise)
    assert chosen(prices, columns)
    wrong = np.where(np.arange(600) < 60, prices.max() * (1 - noise / noise.max() / 2), prices)
    assert chosen(wrong, columns, left_out=60)
    # Skewed as well, but sums of effects.
    assert not chosen(100 + 3 * columns.sum(axis=1) + 20 * noise, columns)
    assert not chosen(columns.sum(axis=1), columns)


def test_the_hyperparameter_decides_where_it_is_set() -> None:
    columns, noise = drawn(1)
    prices = np.exp(columns.sum(axis=1))
    assert not chosen(prices, columns, target_transform="none")
    assert chosen(1 + noise, columns, target_transform="log")
    with pytest.raises(UserError, match="target_transform is log, but the label 0 has no logarithm"):
        chosen(np.where(prices > 1, prices, 0.0), columns, target_transform="log")
