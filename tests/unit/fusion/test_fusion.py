from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_algo.core.budget import Budget
from multimodal_algo.core.metrics import CLASSIFICATION
from multimodal_algo.core.task import Task
from multimodal_algo.fusion.calibration import fit_temperature, log_loss
from multimodal_algo.fusion.combiners import Combiner, HuberMean, Mean, Pool, Stacker
from multimodal_algo.fusion.fit import Choice, FusionSettings, fit_fusion
from multimodal_algo.fusion.folds import OutOfFold, stratified_folds
from multimodal_algo.fusion.fusion import Fusion
from multimodal_algo.fusion.network import Network
from multimodal_algo.fusion.patterns import rows_with
from multimodal_algo.fusion.selection import Finish, Selector
from multimodal_algo.fusion.votes import Votes


@given(st.lists(st.integers(0, 5), min_size=1, max_size=80), st.integers(2, 6))
def test_each_class_is_spread_over_the_folds_as_evenly_as_it_can(labels: list[int], count: int) -> None:
    folds = stratified_folds(np.array(labels), count, seed=0)
    sizes = np.bincount(folds, minlength=count)
    assert sizes.max() - sizes.min() <= 1
    for label in set(labels):
        in_class = np.bincount(folds[np.array(labels) == label], minlength=count)
        assert in_class.max() - in_class.min() <= 1


@pytest.mark.parametrize(("rows", "classes"), [(4000, 3), (3000, 2000)], ids=["all rows", "a part of the rows"])
def test_the_temperature_undoes_overconfidence(rows: int, classes: int) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(rows, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([generator.choice(classes, p=row) for row in probabilities])
    assert fit_temperature(logits * 5, labels) == pytest.approx(5, rel=0.1)


@pytest.mark.fits
def test_cautious_votes_of_many_classes_become_as_sure_as_they_are_right() -> None:
    classes = 150
    labels = np.repeat(np.arange(classes), 3)
    vectors = np.zeros((len(labels), 2, classes + 1), dtype=np.float32)
    vectors[:, :, :-1] = 0.85 / (classes - 1)
    vectors[np.arange(len(labels)), :, labels] = 0.15
    fusion, predictions, _ = fit(Votes(vectors), labels, selector=Selector(Task.of_classes(classes), "log_loss"))
    assert CLASSIFICATION["calibration_error"](labels, predictions) < 0.05
    assert fusion.predict(Votes(vectors)).max(axis=1).min() > 0.9


def two_branches(rows: int, seed: int) -> tuple[Votes, np.ndarray]:
    """Votes of two branches: the first tells class 0 from the rest, the second class 2 from the rest."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, size=rows)
    vectors = np.zeros((rows, 2, 4), dtype=np.float32)
    for branch, apart in ((0, 0), (1, 2)):
        sure = (labels == apart)[:, None]
        others = np.full((rows, 3), 0.46) * (np.arange(3) != apart) + 0.08 * (np.arange(3) == apart)
        vectors[:, branch, :3] = np.where(sure, np.eye(3)[apart] * 0.88 + 0.04, others)
    silent = generator.random((rows, 2)) < 0.15
    vectors[silent] = np.eye(4)[3]
    return Votes(vectors), labels.astype(np.int64)


TEN_EPOCHS = FusionSettings(max_epochs=10)
BRANCHES = {"text": ["a_text"], "num": ["b_num"]}


def fit(
    votes: Votes,
    labels: np.ndarray,
    *,
    selector: Selector | None = None,
    branches: dict[str, list[str]] = BRANCHES,
    settings: FusionSettings = TEN_EPOCHS,
    soft_labels: np.ndarray | None = None,
) -> tuple[Fusion, np.ndarray, Choice]:
    return fit_fusion(
        OutOfFold(votes, labels, stratified_folds(labels, 3, seed=0), soft_labels),
        branches,
        selector=selector or Selector(Task.of_classes(3), "log_loss"),
        settings=settings,
        budget=Budget.starting_now(60),
    )


@pytest.mark.fits
def test_fusion_is_better_than_each_modality_and_survives_silent_ones() -> None:
    votes, labels = two_branches(600, seed=1)
    fusion, held_out, _ = fit(votes, labels)
    unseen, truth = two_branches(600, seed=2)
    fused = fusion.predict(unseen)
    assert np.allclose(fused.sum(axis=1), 1, atol=1e-5)
    alone = max(float((unseen.array[:, m, :3].argmax(axis=1) == truth).mean()) for m in (0, 1))
    assert (fused.argmax(axis=1) == truth).mean() > alone + 0.05
    expected = log_loss(np.log(held_out), labels)
    assert log_loss(np.log(fused), truth) == pytest.approx(expected, abs=0.1)


@pytest.mark.fits
def test_what_is_chosen_is_no_worse_on_held_out_rows_than_anything_else_that_was_tried() -> None:
    votes, labels = two_branches(300, seed=1)
    _, _, choice = fit(votes, labels)
    assert choice.losses[choice.chosen] == min(choice.losses.values())
    assert {"text alone", "num alone", "average"} < choice.losses.keys()


@pytest.mark.fits
def test_a_modality_that_is_never_there_costs_no_more_than_what_it_would_have_told() -> None:
    votes, labels = two_branches(600, seed=1)
    unseen, truth = two_branches(600, seed=2)
    blanked = unseen.silence(slice(None), [1])
    without, _, _ = fit(Votes(votes.array[:, :1]), labels, branches={"text": ["a_text"]})
    expected = log_loss(np.log(without.predict(Votes(unseen.array[:, :1]))), truth)
    assert log_loss(np.log(fit(votes, labels)[0].predict(blanked)), truth) < expected + 0.05


@pytest.mark.fits
def test_a_row_about_which_nothing_is_known_gets_the_frequencies_of_the_classes() -> None:
    votes, labels = two_branches(300, seed=1)
    fusion, _, _ = fit(votes, labels)
    fusion.finish = Finish(1.0)
    silent = votes.take(np.arange(2)).silence(slice(None), [0, 1])
    expected = np.tile(np.bincount(labels) / len(labels), (2, 1))
    np.testing.assert_allclose(fusion.predict(silent), expected, atol=1e-6)


@pytest.mark.fits
def test_a_saved_fusion_answers_as_before(tmp_path: Path) -> None:
    votes, labels = two_branches(300, seed=1)
    fusion, _, _ = fit(votes, labels)
    fusion.save(tmp_path / "fusion.safetensors")
    np.testing.assert_allclose(
        Fusion.load(tmp_path / "fusion.safetensors").predict(votes), fusion.predict(votes), atol=1e-6
    )


@pytest.mark.fits
def test_the_same_seed_gives_the_same_fusion() -> None:
    votes, labels = two_branches(200, seed=1)
    first, second = (
        fit(votes, labels, settings=FusionSettings(max_epochs=5, seed=3))[0].predict(votes) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.fits
def test_class_weights_multiply_the_probabilities() -> None:
    votes, labels = two_branches(300, seed=1)
    even, _, _ = fit(votes, labels)
    weights = np.array([1.0, 1.0, 4.0], dtype=np.float32)
    weighted, _, _ = fit(votes, labels, selector=Selector(Task.of_classes(3), "log_loss", weights))
    expected = even.predict(votes) * weights
    np.testing.assert_allclose(weighted.predict(votes), expected / expected.sum(axis=1, keepdims=True), atol=1e-4)


@pytest.mark.fits
@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "balanced_accuracy", "roc_auc"])
def test_the_metric_decides(metric: str) -> None:
    votes, labels = two_branches(300, seed=1)
    _, held_out, choice = fit(votes, labels, selector=Selector(Task.of_classes(3), metric))
    assert choice.losses[choice.chosen] == min(choice.losses.values())
    assert choice.losses[choice.chosen] == pytest.approx(1 - CLASSIFICATION[metric](labels, held_out), abs=1e-6)


@pytest.mark.fits
def test_numbers_are_fused_to_less_error_than_each_branch_makes() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(1e5, 2e4, size=800)
    vectors = np.zeros((800, 2, 2), dtype=np.float32)
    vectors[:, :, 0] = truth[:, None] + generator.normal(0, 1e4, size=(800, 2))
    silent = generator.random((800, 2)) < 0.1
    vectors[silent] = [0, 1]
    fusion, held_out, choice = fit(Votes(vectors), truth, selector=Selector(Task.regression(), "rmse"))
    assert choice.losses["mean"] < 0.85 * min(choice.losses["text alone"], choice.losses["num alone"])
    assert np.sqrt(np.mean((held_out[:, 0] - truth) ** 2)) == pytest.approx(choice.losses[choice.chosen])
    nothing = fusion.predict(Votes(np.tile(np.array([0, 1], dtype=np.float32), (1, 2, 1))))
    assert nothing[0, 0] == pytest.approx(truth.mean(), rel=1e-4)


@pytest.mark.fits
@pytest.mark.parametrize(("offset", "unit"), [(1.7e9, 10.0), (0.0, 1e-12), (1e15, 100.0)])
def test_numbers_are_fused_without_losing_digits(offset: float, unit: float, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    truth = offset + unit * generator.normal(size=400)
    vectors = np.zeros((400, 2, 2))
    vectors[:, :, 0] = truth[:, None] + unit * generator.normal(0, 0.5, size=(400, 2))
    vectors[generator.random((400, 2)) < 0.1] = [0, 1]
    fusion, held_out, choice = fit(Votes(vectors), truth, selector=Selector(Task.regression(), "rmse"))
    assert choice.losses["mean"] < 0.85 * min(choice.losses["text alone"], choice.losses["num alone"])
    assert np.sqrt(np.mean((held_out[:, 0] - truth) ** 2)) == pytest.approx(choice.losses[choice.chosen], rel=1e-6)
    fusion.save(tmp_path / "fusion")
    np.testing.assert_array_equal(
        Fusion.load(tmp_path / "fusion").predict(Votes(vectors)), fusion.predict(Votes(vectors))
    )


def test_a_branch_that_is_wrong_out_of_fold_is_not_believed_the_other_way_round() -> None:
    """Held-out votes of a branch of noise lean away from the truth. On new rows they lean nowhere."""
    votes, labels = two_branches(600, seed=1)
    vectors = np.ascontiguousarray(votes.array[:, :, :3])
    vectors[:, 1] = (1 - 0.2 * np.eye(3)[labels]) / 2.8
    pool = Pool.fit(vectors, labels)
    leaning = np.tile(np.float32([[1 / 3, 1 / 3, 1 / 3], [0.6, 0.2, 0.2]]), (1, 1, 1))
    level = np.full((1, 2, 3), 1 / 3, dtype=np.float32)
    assert pool.predict(leaning)[0, 0] >= pool.predict(level)[0, 0] - 1e-6


@pytest.mark.parametrize("kind", [Pool, Stacker, Network])
def test_shares_that_are_all_of_one_class_teach_what_labels_do(kind: type[Combiner]) -> None:
    votes, labels = two_branches(300, seed=0)
    rows = rows_with((0, 1), votes)
    vectors, labels = votes.probabilities(rows, (0, 1)), labels[rows]
    by_labels = kind.fit(vectors, labels).predict(vectors)
    by_shares = kind.fit(vectors, np.eye(3, dtype=np.float32)[labels]).predict(vectors)
    np.testing.assert_allclose(by_shares, by_labels, atol=1e-3)


@pytest.mark.fits
def test_a_teacher_that_knows_better_than_the_labels_is_believed() -> None:
    votes, labels = two_branches(600, seed=0)
    noisy = labels.copy()
    wrong = np.random.default_rng(1).random(600) < 0.4
    noisy[wrong] = (noisy[wrong] + 1) % 3
    soft_labels = np.eye(3, dtype=np.float32)[labels]
    new, truth = two_branches(600, seed=2)

    def loss(**options: Any) -> float:
        # The last step of a fusion is fitted to the labels alone, so the combiners are compared.
        fusion, _, _ = fit(votes, noisy, **options)
        fusion.finish = None
        return CLASSIFICATION["log_loss"](truth, fusion.predict(new))

    assert loss(soft_labels=soft_labels) < loss()


def test_the_huber_mean_is_not_bent_by_outliers() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=400)
    vectors = truth[:, None, None] + generator.normal(size=(400, 2, 1)) * np.array([[[0.1], [1.0]]])
    labels = np.where(np.arange(400) % 20 == 0, 1000.0, truth)
    bent, robust = (mean.fit(vectors, labels).predict(vectors)[:, 0] - truth for mean in (Mean, HuberMean))
    assert np.abs(robust).mean() < 0.2 < 10 < np.abs(bent).mean()
    clean = [mean.fit(vectors, truth).predict(vectors)[:, 0] for mean in (Mean, HuberMean)]
    np.testing.assert_allclose(*clean, atol=0.05)
