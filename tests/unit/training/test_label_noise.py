"""Rows with doubtful labels are left out of fits, and still have votes of models that did not see them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_algo.branches.base import BranchModel, TrainingRows
from multimodal_algo.core.labels import Target
from multimodal_algo.core.task import Task
from multimodal_algo.ingest.features import Features
from multimodal_algo.training.label_noise import LEFT_OUT, doubtful_rows, losses


class Remembered:
    """A predictor that knows the rows which it was fitted to, and answers others with class 1."""

    def __init__(self, numbers: np.ndarray) -> None:
        self._numbers = set(numbers.tolist())

    @classmethod
    def fit(cls, frame: np.ndarray, targets: np.ndarray, folds: np.ndarray, settings: Any) -> tuple[Any, np.ndarray]:
        assert len(frame) == len(targets) == len(folds)
        assert (folds >= 0).all()
        return cls(frame), np.tile([0.8, 0.2], (len(frame), 1))

    def predict(self, inputs: Any) -> np.ndarray:
        assert not self._numbers & set(inputs.frame().tolist())
        return np.tile([0.1, 0.9], (len(inputs.frame()), 1))


class NumbersModel(BranchModel):
    """A branch with that predictor."""

    @property
    def predictor_class(self) -> Any:
        return Remembered

    def inputs(self, features: Features) -> Any:
        class Numbers:
            def frame(self) -> np.ndarray:
                return features.cells["a_num"]

            def __len__(self) -> int:
                return len(features)

        return Numbers()


@dataclass(frozen=True)
class NoSettings:
    """The settings that `NumbersModel` does not read."""

    logarithm: bool = False


def test_rows_without_a_fold_get_the_votes_of_a_model_that_did_not_see_them(tmp_path: Path) -> None:
    numbers = np.array([0.0, 1, 2, np.nan, 4, 5, 6, np.nan])
    folds = np.array([0, 1, LEFT_OUT, 0, 1, 0, LEFT_OUT, LEFT_OUT])
    model = NumbersModel("num", ("a_num",), Task.of("binary", 2))
    rows = TrainingRows(Features({"a_num": numbers}, 8, {}), np.arange(8) % 2, folds)
    votes = model.fit(rows, NoSettings(), min_completeness=0.25)  # type: ignore[arg-type]
    fitted, left_out, empty = [0.8, 0.2, 0], [0.1, 0.9, 0], [0, 0, 1]
    expected = [fitted, fitted, left_out, empty, fitted, fitted, left_out, empty]
    assert np.allclose(votes, expected)


def noisy(rows: int, wrong: float) -> tuple[Target, np.ndarray, np.ndarray]:
    """Labels of three classes of which a share is wrong, predictions of a good model, and the wrong rows."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, rows)
    predictions = np.eye(3)[truth] * 0.7 + 0.1
    planted = generator.random(rows) < wrong
    labels = np.where(planted, (truth + 1) % 3, truth)
    return Target(Task.of("multiclass", 3), ("a", "b", "c"), labels), predictions, planted


def test_wrong_labels_are_the_doubtful_ones() -> None:
    target, predictions, planted = noisy(300, wrong=0.1)
    assert np.array_equal(doubtful_rows(predictions, target), planted)


def test_most_rows_stay_however_doubtful_they_are() -> None:
    target, predictions, _ = noisy(300, wrong=0.45)
    left_out = doubtful_rows(predictions, target)
    assert left_out.mean() <= 0.2
    for label in range(3):
        assert left_out[target.values == label].mean() <= 0.4


def test_a_model_does_not_lose_for_being_surer_than_wrong_labels_allow() -> None:
    target, predictions, planted = noisy(600, wrong=0.1)
    sure = predictions**4 / (predictions**4).sum(axis=1, keepdims=True)
    assert abs(losses(sure, target).mean() - losses(predictions, target).mean()) < 0.02
    assert losses(predictions, target)[planted].mean() > losses(predictions, target)[~planted].mean()
