"""The protocol of predictors, and the settings that every fit takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from multimodal_algo.config.recipes import ModelSettings
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.checkpointing import CheckpointStore, StopRequest
from multimodal_algo.core.task import Task
from multimodal_algo.execution.protocol import Parallelism, SentDirectory


@dataclass(frozen=True)
class FitSettings:
    """How one branch is fitted.

    Parameters
    ----------
    name
        Name of the branch, for the log.
    task
        Problem type and number of outputs.
    model_settings
        Settings of AutoGluon's models, from the recipe. A value may be a `SentDirectory`.
    seed
        Seed of AutoGluon.
    scratch
        Directory for temporary files.
    budget
        Deadline of the fit.
    checkpoints
        Store for finished parts, from which a later start of the same job goes on. None saves nothing.
    stop
        Request to save the state and to end with `Stopped`.
    parallelism
        Permission to fit parts on several hosts. None for this process alone.
    teacher
        Directory of a fitted predictor of the same branch, whose predictions are learned next to the labels.
        Only `FineTunedPredictor` learns from it.
    """

    name: str
    task: Task
    model_settings: ModelSettings
    seed: int
    scratch: Path
    budget: Budget
    checkpoints: CheckpointStore | None = None
    stop: StopRequest | None = None
    parallelism: Parallelism | None = None
    teacher: SentDirectory | None = None


class BranchPredictor(ABC):
    """Fits the inputs of one branch and predicts new rows.

    A predictor lives through four calls::

        predictor, out_of_fold = AutoGluonPredictor.fit(inputs, targets, folds, settings)
        predictor.save(directory)
        predictor = AutoGluonPredictor.load(directory)
        predictions = predictor.predict(inputs)

    AutoGluon may drop rare classes, reorder or relabel them. Predictions always have the n classes of the artifact, in
    the artifact's order.
    """

    @classmethod
    @abstractmethod
    def fit(
        cls, inputs: pd.DataFrame, targets: np.ndarray, folds: np.ndarray, settings: FitSettings
    ) -> tuple[BranchPredictor, np.ndarray]:
        """Fit the models of the settings.

        Parameters
        ----------
        inputs
            One row per target.
        targets
            Class indices, int (rows,), or numbers, float (rows,).
        folds
            Fold of each row, int (rows,).
        settings
            Settings of the fit.

        Returns
        -------
        predictor
            The predictor that ships.
        out_of_fold
            Predictions of each row by a model that was fitted without its fold, float32 (rows, n).
        """

    @abstractmethod
    def predict(self, inputs: pd.DataFrame) -> np.ndarray:
        """Return class probabilities, or numbers, float32 (rows, n).

        The probability of a class that `fit` did not see is 0.
        """

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write the predictor, without the files that only training needs."""

    @classmethod
    @abstractmethod
    def load(cls, directory: Path) -> BranchPredictor:
        """Read a predictor that `save` wrote, with its models in memory."""


def prior_of(targets: np.ndarray, task: Task) -> np.ndarray:
    """Return the share of each class, or the mean of the numbers, float32 (n,)."""
    if task.is_regression:
        return np.array([targets.mean()], dtype=np.float32)
    return (np.bincount(targets, minlength=task.outputs) / len(targets)).astype(np.float32)


def sample_rows(rows: int, most: int, seed: int) -> np.ndarray:
    """Return positions of at most `most` of `rows` rows, int (n,), ascending."""
    if most >= rows:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
