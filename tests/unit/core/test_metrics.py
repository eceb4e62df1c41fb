"""The metrics: one declaration for the documentation, and values that scikit-learn confirms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from multimodal_algo.core.class_scores import scores_by_class
from multimodal_algo.core.metrics import CLASSIFICATION, REGRESSION, metrics_markdown, scores_of
from multimodal_algo.core.task import Task

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


@pytest.mark.parametrize("positive", [0, 1])
def test_metrics_of_the_positive_class_are_those_of_scikit_learn(positive: int) -> None:
    rng = np.random.default_rng(positive)
    truth, probabilities = (rng.random(200) < 0.1).astype(int), rng.dirichlet(np.ones(2), 200).astype(np.float32)
    probabilities[:50] = probabilities[0]  # equal ones count as one threshold
    likeliest, probability = probabilities.argmax(axis=1), probabilities[:, positive]
    values = scores_of(Task.of_classes(2, positive), truth, probabilities)
    expected = {
        "average_precision": sklearn.metrics.average_precision_score(truth == positive, probability),
        "f1": sklearn.metrics.f1_score(truth, likeliest, pos_label=positive),
        "precision": sklearn.metrics.precision_score(truth, likeliest, pos_label=positive),
        "recall": sklearn.metrics.recall_score(truth, likeliest, pos_label=positive),
        "mcc": sklearn.metrics.matthews_corrcoef(truth, likeliest),
        "brier": sklearn.metrics.brier_score_loss(truth == positive, probability),
    }
    assert {name: values[name] for name in expected} == pytest.approx(expected)
    assert list(values)[:5] == ["average_precision", "f1", "precision", "recall", "mcc"], "one class has most rows"


def test_averages_over_classes_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, probabilities = rng.choice([0, 1, 3], 60), rng.dirichlet(np.ones(5), 60)  # two classes have no row
    likeliest = probabilities.argmax(axis=1)
    values = scores_of(Task.of_classes(5), truth, probabilities)
    for average in ("macro", "weighted"):
        for name in ("f1", "precision", "recall"):
            score = getattr(sklearn.metrics, f"{name}_score")
            value = score(truth, likeliest, average=average, zero_division=0)
            assert values[f"{name}_{average}"] == pytest.approx(value)
    present = probabilities[:, [0, 1, 3]]
    areas = sklearn.metrics.average_precision_score(truth[:, None] == [0, 1, 3], present)
    assert values["average_precision"] == pytest.approx(areas)
    assert values["mcc"] == pytest.approx(sklearn.metrics.matthews_corrcoef(truth, likeliest))
    assert values["brier"] == pytest.approx(((probabilities - np.eye(5)[truth]) ** 2).sum(axis=1).mean())
    assert next(iter(values)) == "accuracy"


def test_each_class_has_its_scores_against_the_rest() -> None:
    rng = np.random.default_rng(0)
    truth, probabilities = rng.choice([0, 1, 3], 60), rng.dirichlet(np.ones(4), 60)
    likeliest = probabilities.argmax(axis=1)
    scores = scores_by_class(truth, probabilities)
    assert scores[2] == {}
    for label in (0, 1, 3):
        assert scores[label] == pytest.approx(
            {
                "rows": (truth == label).sum(),
                "precision": sklearn.metrics.precision_score(truth == label, likeliest == label),
                "recall": sklearn.metrics.recall_score(truth == label, likeliest == label),
                "f1": sklearn.metrics.f1_score(truth == label, likeliest == label),
                "average_precision": sklearn.metrics.average_precision_score(truth == label, probabilities[:, label]),
                "mcc": sklearn.metrics.matthews_corrcoef(truth == label, likeliest == label),
                "brier": sklearn.metrics.brier_score_loss(truth == label, probabilities[:, label]),
            }
        )


def test_the_area_under_the_curve_counts_equal_probabilities_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(0)
    truth, probabilities = rng.integers(0, 2, 60), rng.integers(0, 4, (60, 2)) / 4
    expected = sklearn.metrics.roc_auc_score(truth, probabilities[:, 1])
    assert CLASSIFICATION["roc_auc"](truth, probabilities) == pytest.approx(expected)


def test_metrics_of_numbers_are_those_of_scikit_learn() -> None:
    truth, predictions = np.array([1.0, 2.0, 4.0]), np.array([[1.5], [2.0], [3.0]])
    assert {name: metric(truth, predictions) for name, metric in REGRESSION.items()} == pytest.approx(
        {
            "rmse": (1.25 / 3) ** 0.5,
            "mae": 0.5,
            "r2": 1 - 1.25 / (14 / 3),
            "median_absolute_error": 0.5,
            "mape": 0.25,
            "pearson": np.corrcoef(truth, predictions[:, 0])[0, 1],
            "spearman": 1.0,
        }
    )


def test_correlations_are_those_of_scipy_also_with_equal_numbers() -> None:
    rng = np.random.default_rng(0)
    truth, predictions = rng.integers(0, 9, 80) * 1e200, rng.integers(0, 9, 80) * 1e-200
    values = {name: REGRESSION[name](truth, predictions[:, None]) for name in ("pearson", "spearman")}
    shares = (truth / 1e200, predictions / 1e-200)
    assert values["pearson"] == pytest.approx(scipy.stats.pearsonr(*shares).statistic)
    assert values["spearman"] == pytest.approx(scipy.stats.spearmanr(*shares).statistic)
    assert REGRESSION["pearson"](truth, np.full((80, 1), 0.1)) == 0


def test_a_percentage_leaves_out_rows_whose_number_is_zero() -> None:
    assert REGRESSION["mape"](np.array([0.0, 2.0]), np.array([[5.0], [1.0]])) == 0.5
