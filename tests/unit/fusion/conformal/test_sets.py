from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conformal_rows import calibration_rows

from multimodal_algo.core.softmax import softmax
from multimodal_algo.core.task import Task
from multimodal_algo.fusion.conformal.ranked import RankedScores
from multimodal_algo.fusion.conformal.rows import weights_of
from multimodal_algo.fusion.conformal.sets import PredictionSets
from multimodal_algo.fusion.conformal.stored import load_calibrated, save_calibrated


def drawn(rows: int, classes: int, seed: int, sure: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of rows, some of which are easy, and labels. `sure` above 1 makes them more sure than right."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(rows, classes)) * generator.choice([0.5, 3.0], size=(rows, 1))
    logits[:, 0] += 1
    labels = (softmax(logits).cumsum(axis=1) < generator.random((rows, 1))).sum(axis=1)
    return softmax(logits * sure).astype(np.float32), np.minimum(labels, classes - 1)


def ranked(values: list[float]) -> RankedScores:
    return RankedScores.of(np.array(values), np.ones(len(values)), np.arange(len(values)))


def test_a_threshold_has_the_rank_of_split_conformal_prediction() -> None:
    # ceil((n + 1) * level) = ceil(10 * 0.8) = 8 of nine scores, as in Lei et al., 2018.
    scores = ranked([9, 1, 8, 2, 7, 3, 6, 4, 5])
    assert scores.threshold(0.8) == 8
    assert scores.threshold(0.81) == 9
    assert scores.threshold(0.95) == np.inf
    assert ranked([]).threshold(0.5) == np.inf


def test_duplicate_rows_count_once() -> None:
    keys = np.array([1, 2, 3, 4, 5, 5, 5, 5, 5])
    np.testing.assert_allclose(weights_of(keys), [1, 1, 1, 1, 0.2, 0.2, 0.2, 0.2, 0.2])
    scores = np.array([1.0, 2.0, 3.0, 4.0, 0.5, 0.5, 0.5, 0.5, 0.5])
    once = RankedScores.of(scores[:5], np.ones(5), np.arange(5))
    again = RankedScores.of(scores, weights_of(keys), keys)
    assert [again.threshold(level) for level in (0.3, 0.5, 0.8, 0.9)] == [
        once.threshold(level) for level in (0.3, 0.5, 0.8, 0.9)
    ]


def test_equal_rows_of_a_table_of_few_categories_all_count() -> None:
    assert (weights_of(np.arange(100) % 20) == 1).all()


def test_fewer_stored_scores_give_no_smaller_threshold() -> None:
    scores = ranked(np.random.default_rng(0).exponential(size=5000).tolist())
    thin = scores.thinned(200)
    assert len(thin.values) <= 200
    for level in (0.2, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999):
        assert scores.threshold(level) <= thin.threshold(level) <= scores.threshold(min(1 - 1e-9, level + 0.015))


def test_a_set_has_the_classes_up_to_the_threshold_by_hand() -> None:
    # The true class is the second likeliest in three of nine rows. Before it lie 0.5, 0.6 and 0.7.
    probabilities = np.array([[0.9, 0.1]] * 6 + [[0.5, 0.5], [0.6, 0.4], [0.7, 0.3]], dtype=np.float32)
    labels = np.array([0] * 6 + [1, 1, 1])
    sets = PredictionSets.fit(calibration_rows(probabilities, labels), 0.8)
    assert sets.penalty == 0
    # Too few rows for thresholds by class. The eighth of nine scores is 0.6.
    np.testing.assert_allclose(sets.thresholds(0.8), [0.6, 0.6])
    members = sets.members(np.array([[0.61, 0.39], [0.59, 0.41], [0.2, 0.8]], dtype=np.float32), 0.8)
    assert members.tolist() == [[True, False], [True, True], [False, True]]


@pytest.mark.parametrize("sure", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_new_rows_are_covered_however_sure_the_probabilities_are(sure: float, coverage: float) -> None:
    classes = 12
    sets = PredictionSets.fit(calibration_rows(*drawn(4000, classes, 1, sure)), coverage)
    probabilities, labels = drawn(6000, classes, 2, sure)
    members = sets.members(probabilities, coverage)
    covered = members[np.arange(len(labels)), labels]
    error = np.sqrt(coverage * (1 - coverage) * (1 / 4000 + 1 / 6000))
    assert covered.mean() > coverage - 4 * error
    assert members[np.arange(len(labels)), probabilities.argmax(axis=1)].all()
    assert members.sum(axis=1).mean() < 0.8 * classes
    for label in range(classes):
        own = covered[labels == label]
        assert own.mean() > coverage - 4 * np.sqrt(coverage * (1 - coverage) * 2 / len(own))


def test_a_hard_class_has_a_threshold_of_its_own_and_rare_ones_share_theirs() -> None:
    generator = np.random.default_rng(0)
    labels = np.concatenate([np.zeros(600, int), np.ones(600, int), np.repeat([2, 3, 4, 5], 30)])
    probabilities = generator.dirichlet(np.ones(6), size=len(labels)).astype(np.float32)
    probabilities[:600, 0] += 3
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    limits = PredictionSets.fit(calibration_rows(probabilities, labels), 0.9).thresholds(0.9)
    assert limits[0] == 0 < limits[1]
    assert len(set(limits[2:])) == 1


def test_sets_are_as_they_were_when_read_back(tmp_path: Path) -> None:
    probabilities, labels = drawn(3000, 40, 3)
    labels[labels == 7] = 8  # a class without a row
    sets = PredictionSets.fit(calibration_rows(probabilities, labels), 0.9)
    path = tmp_path / "conformal.npz"
    save_calibrated(sets, path)
    again = load_calibrated(path, Task.of_classes(40))
    assert isinstance(again, PredictionSets)
    for coverage in (0.6, 0.9, 0.99):
        np.testing.assert_array_equal(again.members(probabilities, coverage), sets.members(probabilities, coverage))


def test_the_file_stays_small_with_many_rows_and_classes(tmp_path: Path) -> None:
    probabilities, labels = drawn(5000, 200, 4)
    path = tmp_path / "conformal.npz"
    save_calibrated(PredictionSets.fit(calibration_rows(probabilities, labels), 0.9), path)
    assert path.stat().st_size < 300_000
