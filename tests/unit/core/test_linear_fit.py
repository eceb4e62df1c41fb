"""Linear models are fitted alike whether weights are stored by column or by row, and whatever the fit before."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import sparse

from multimodal_algo.core import linear_fit
from multimodal_algo.core.lbfgs import Limits
from multimodal_algo.core.linear import Blocks, Linear
from multimodal_algo.core.linear_fit import LinearFit, fit_linear

LIMITS = Limits(1000)


def blocks(rows: int, words: int, width: int = 6, seed: int = 0) -> Blocks:
    generator = np.random.default_rng(seed)
    matrix = sparse.random(rows, words, density=0.1, format="csr", dtype=np.float32, random_state=seed)
    return Blocks(matrix, generator.normal(size=(rows, width)).astype(np.float32) / 3)


def targets_of(columns: Blocks, kind: str) -> np.ndarray:
    scores = columns.dense[:, :3] + columns.sparse[:, :3].toarray()
    if kind == "numbers":
        return scores[:, 0] + 2
    labels = scores.argmax(axis=1)
    return labels if kind == "classes" else (0.9 * np.eye(3)[labels] + 0.1 / 3).astype(np.float32)


@pytest.mark.parametrize("kind", ["classes", "shares", "numbers"])
@pytest.mark.parametrize("with_factors", [False, True])
def test_weights_by_row_are_those_by_column(kind: str, with_factors: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = blocks(80, 300)
    targets, n_classes = targets_of(columns, kind), None if kind == "numbers" else 3
    factors = np.where(np.arange(columns.width) % 2, 0.5, 1.0).astype(np.float32) if with_factors else None

    def fitted(space: type) -> Linear:
        monkeypatch.setattr(linear_fit, "_space", space)
        return LinearFit(columns, targets, n_classes).fit(2.0, LIMITS, factors)

    by_row, by_column = fitted(linear_fit._RowSpace), fitted(linear_fit._ColumnSpace)
    np.testing.assert_allclose(by_row.scores(columns), by_column.scores(columns), atol=0.02)
    np.testing.assert_allclose(by_row.weights, by_column.weights, atol=0.02)


@pytest.mark.parametrize("words", [20, 300])
def test_a_fit_finds_the_same_after_another_one(words: int) -> None:
    columns = blocks(80, words)
    labels = targets_of(columns, "classes")
    factors = np.full(columns.width, 0.5, dtype=np.float32)
    both = LinearFit(columns, labels, 3)
    both.fit(3.0, LIMITS)
    after = both.fit(1.0, LIMITS, factors)
    alone = LinearFit(columns, labels, 3).fit(1.0, LIMITS, factors)
    np.testing.assert_allclose(after.scores(columns), alone.scores(columns), atol=0.03)


@pytest.mark.parametrize("words", [20, 300])
def test_weights_belong_to_columns_without_their_factors(words: int) -> None:
    columns = blocks(80, words)
    labels = targets_of(columns, "classes")
    factors = np.linspace(0.3, 1.0, columns.width, dtype=np.float32)
    scaled = Blocks(
        sparse.csr_matrix(columns.sparse.multiply(factors[:words]), dtype=np.float32), columns.dense * factors[words:]
    )
    found = LinearFit(columns, labels, 3).fit(1.0, LIMITS, factors)
    expected = LinearFit(scaled, labels, 3).fit(1.0, LIMITS)
    np.testing.assert_allclose(found.scores(columns), expected.scores(scaled), atol=0.02)


def test_products_are_those_of_scipy() -> None:
    columns = blocks(60, 200)
    products = linear_fit._Products(columns)
    generator = np.random.default_rng(1)
    weights = generator.normal(size=(columns.width, 4)).astype(np.float32)
    errors = generator.normal(size=(60, 4)).astype(np.float32)
    scores = products.scores(linear_fit._tensor(weights)).numpy()
    np.testing.assert_allclose(scores, columns.times(weights), rtol=1e-5, atol=1e-5)
    transposed = np.concatenate([columns.sparse.T @ errors, columns.dense.T @ errors])
    np.testing.assert_allclose(products.weights(linear_fit._tensor(errors)).numpy(), transposed, rtol=1e-5, atol=1e-5)


def test_a_fit_whose_time_is_over_still_answers() -> None:
    columns = blocks(80, 300)
    labels = targets_of(columns, "classes")
    found = fit_linear(columns, labels, n_classes=3, strength=1.0, deadline_s=time.monotonic() - 1)
    assert np.isfinite(found.scores(columns)).all()


def test_rows_of_one_value_have_that_value() -> None:
    columns = blocks(30, 10)
    found = fit_linear(columns, np.full(30, 2.5), n_classes=None, strength=1.0)
    np.testing.assert_allclose(found.scores(columns), 2.5, atol=1e-3)
