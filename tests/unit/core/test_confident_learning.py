"""Labels that held-out predictions contradict are found, and others are not."""

from __future__ import annotations

import numpy as np
import pytest

from multimodal_algo.core.confident_learning import doubt_classes, doubt_numbers


def votes(labels: np.ndarray, classes: int, sure: float) -> np.ndarray:
    """Probabilities of a model that gives the class of each row the probability `sure`, or a little less."""
    generator = np.random.default_rng(0)
    given = np.full((len(labels), classes), (1 - sure) / (classes - 1))
    given[np.arange(len(labels)), labels] = sure
    given += generator.uniform(0, 0.05, given.shape)
    return given / given.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("share", [0.05, 0.1])
def test_planted_labels_are_the_first(classes: int, share: float) -> None:
    generator = np.random.default_rng(1)
    truth = generator.integers(0, classes, 600)
    planted = generator.choice(600, int(share * 600), replace=False)
    labels = truth.copy()
    labels[planted] = (truth[planted] + 1) % classes
    doubts = doubt_classes(votes(truth, classes, 0.8), labels)
    assert set(np.argsort(doubts.scores)[: len(planted)]) == set(planted)
    assert set(np.flatnonzero(doubts.possible)) == set(planted)
    assert set(np.flatnonzero(doubts.doubtful)) <= set(planted)
    assert np.array_equal(doubts.probable[planted], truth[planted])


def test_a_class_that_is_often_mistaken_is_not_doubted_for_that() -> None:
    # Rows of class 1 get 0.4 on average: 0.45 for class 0 is not confident, since its own rows get 0.9.
    labels = np.repeat([0, 1], 50)
    given = np.where(labels[:, None] == 0, [0.9, 0.1], [0.55, 0.45])
    doubts = doubt_classes(given, labels)
    assert not doubts.doubtful.any()
    assert np.array_equal(doubts.possible, labels == 1)


def test_a_class_without_rows_is_nobodys_probable_label() -> None:
    given = np.tile([0.4, 0.0, 0.6], (10, 1))
    labels = np.array([0] * 9 + [1])
    assert not doubt_classes(given, labels).doubtful[:9].any()


def test_numbers_far_outside_are_found_where_errors_grow_with_the_number() -> None:
    generator = np.random.default_rng(0)
    predictions = np.exp(generator.uniform(0, 6, 2000))
    labels = predictions * (1 + 0.05 * generator.normal(size=2000))
    planted = generator.choice(2000, 60, replace=False)
    labels[planted] *= 2
    doubts = doubt_numbers(predictions, labels)
    first = np.argsort(doubts.scores)[:60]
    assert len(set(first) & set(planted)) >= 57
    assert doubts.doubtful[planted].mean() > 0.9
    assert np.delete(doubts.doubtful, planted).mean() < 0.01


def test_equal_numbers_are_not_doubted() -> None:
    assert not doubt_numbers(np.full(20, 3.0), np.full(20, 3.0)).possible.any()
