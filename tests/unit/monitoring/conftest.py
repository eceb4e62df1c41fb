"""Rows of all modalities, made by a generator, and their sketches."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.ingest.categories import KnownCategories
from multimodal_algo.ingest.features import Features, VectorColumn
from multimodal_algo.monitoring.making import sketch
from multimodal_algo.monitoring.sketches import Sketches

SCHEMA = FeatureSchema(("a_num", "few_num", "x_cat", "t_text", "p_image", "label"))
SENTENCES = (
    "This lamp has a wooden foot and gives a warm light. ",
    "The chair is made of steel and is easy to clean. ",
    "We sell a small table for the kitchen or the garden. ",
    "A clock with large numbers that everybody can read. ",
    "It comes in three colours and weighs four kilograms. ",
    "Please do not put anything heavy on top of this. ",
)

Rows = Callable[..., Features]


@pytest.fixture(scope="session")
def rows() -> Rows:
    """Function that makes rows of one distribution, which its parameters change."""
    generator = np.random.default_rng(0)
    mixing = np.random.default_rng(1).normal(size=(3, 16))

    def make(count: int, *, shift: float = 0.0, new: float = 0.0, missing: float = 0.0, image: float = 0.0) -> Features:
        text = ["".join(generator.choice(SENTENCES, generator.integers(1, 4))) for _ in range(count)]
        few = generator.integers(0, 3, count).astype(float)
        few[generator.random(count) < missing] = np.nan
        category = np.array(generator.choice(list("abcd"), count, p=[0.5, 0.3, 0.15, 0.05]), dtype=object)
        category[generator.random(count) < new] = "new"
        cells = {
            "a_num": generator.normal(size=count) + shift,
            "few_num": few,
            "x_cat": category,
            "t_text": np.array(text, dtype=object),
        }
        vectors = [generator.normal(size=(count, 3)) @ mixing + generator.normal(size=(count, 16)) for _ in range(2)]
        vectors[1] += image
        columns = {
            name: VectorColumn(each.astype(np.float16), np.arange(count))
            for name, each in zip(("t_text", "p_image"), vectors, strict=True)
        }
        return Features(cells, count, columns)

    return make


class MadeRows(SimpleNamespace):
    """The parts of a dataset that sketches need."""

    def __len__(self) -> int:
        return len(self.features)


@pytest.fixture(scope="session")
def training(rows: Rows) -> Any:
    """600 training rows."""
    return MadeRows(features=rows(600), schema=SCHEMA, names=lambda: [str(row) for row in range(600)])


@pytest.fixture(scope="session")
def sketches(training: Any) -> Sketches:
    """Their sketches."""
    return sketch(training, np.arange(600) % 4, np.arange(600))


@pytest.fixture(scope="session")
def known(training: Any) -> KnownCategories:
    """The categories of the training rows."""
    return KnownCategories.of(training)
