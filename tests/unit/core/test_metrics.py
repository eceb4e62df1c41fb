"""The metrics: one declaration for the documentation, and values that scikit-learn confirms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics

from multimodal_algo.core.metrics import CLASSIFICATION, REGRESSION, metrics_markdown

PAGE = Path(__file__).parents[3] / "docs/training.md"


def test_the_table_in_the_documentation_is_made_from_the_declarations() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"<!-- metrics: begin -->\n{metrics_markdown()}<!-- metrics: end -->" in text


def test_metrics_of_classes_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, probabilities = rng.integers(0, 3, 60), rng.dirichlet(np.ones(3), 60)
    likeliest = probabilities.argmax(axis=1)
    values = {name: metric(truth, probabilities) for name, metric in CLASSIFICATION.items()}
    assert values["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(truth, likeliest))
    assert values["log_loss"] == pytest.approx(sklearn.metrics.log_loss(truth, probabilities))
    assert values["f1_macro"] == pytest.approx(sklearn.metrics.f1_score(truth, likeliest, average="macro"))
    assert values["balanced_accuracy"] == pytest.approx(sklearn.metrics.balanced_accuracy_score(truth, likeliest))
    assert values["roc_auc"] == pytest.approx(sklearn.metrics.roc_auc_score(truth, probabilities, multi_class="ovr"))


def test_the_area_under_the_curve_counts_equal_probabilities_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(0)
    truth, probabilities = rng.integers(0, 2, 60), rng.integers(0, 4, (60, 2)) / 4
    expected = sklearn.metrics.roc_auc_score(truth, probabilities[:, 1])
    assert CLASSIFICATION["roc_auc"](truth, probabilities) == pytest.approx(expected)


def test_metrics_of_numbers_are_those_of_scikit_learn() -> None:
    truth, predictions = np.array([1.0, 2.0, 4.0]), np.array([[1.5], [2.0], [3.0]])
    assert {name: metric(truth, predictions) for name, metric in REGRESSION.items()} == pytest.approx(
        {"rmse": (1.25 / 3) ** 0.5, "mae": 0.5, "r2": 1 - 1.25 / (14 / 3)}
    )
