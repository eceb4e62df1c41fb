"""The protocol of predictors, and the settings that every fit takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.config.inference import Engine
from multimodal_algo.config.recipes import ModelSettings
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.checkpointing import CheckpointStore, StopRequest
from multimodal_algo.core.task import Task
from multimodal_algo.execution.protocol import Parallelism, SentDirectory
from multimodal_algo.predictors.inputs import Table

if TYPE_CHECKING:
    import pandas as pd


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
            Predictions of each row by a model that was fitted without its fold: float32 (rows, n), or float64 (rows, 1)
            for a regression.
        """

    @abstractmethod
    def predict(self, inputs: Table) -> np.ndarray:
        """Return class probabilities, float32 (rows, n), or numbers, float64 (rows, 1).

        The probability of a class that `fit` did not see is 0.
        """

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write the predictor, without the files that only training needs."""

    @classmethod
    @abstractmethod
    def load(cls, directory: Path, engine: Engine = Engine.AUTO) -> BranchPredictor:
        """Read a predictor that `save` wrote, with its models in memory. `engine` runs fine-tuned networks."""


@dataclass(frozen=True)
class TargetScale:
    """The mean and the deviation of the numbers that a regression learns.

    Models compute in float32, which has seven digits: numbers near 1.7e9 are rounded to 128. So models get standardised
    numbers, and their predictions are restored in float64.

    Parameters
    ----------
    mean, deviation
        Mean and standard deviation. With 0 and 1 nothing changes.
    """

    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def of(cls, targets: np.ndarray, task: Task) -> TargetScale:
        """Return the scale of numbers, float64 (rows,). Class indices have the scale that changes nothing."""
        if not task.is_regression:
            return cls()
        largest = float(np.abs(targets).max()) or 1.0  # the squares of huge numbers are infinite, those of tiny ones 0
        shares = targets / largest
        return cls(float(shares.mean()) * largest, float(shares.std()) * largest or 1.0)

    def standardised(self, targets: np.ndarray) -> np.ndarray:
        """Return numbers in units of the deviation, float64 of the same shape. Class indices stay as they are."""
        return targets if self == TargetScale() else (targets - self.mean) / self.deviation

    def restored(self, predictions: np.ndarray) -> np.ndarray:
        """Return the numbers for standardised predictions, float64 of the same shape."""
        return np.asarray(predictions, dtype=np.float64) * self.deviation + self.mean


def prior_of(targets: np.ndarray, task: Task) -> np.ndarray:
    """Return the share of each class, float32 (n,), or the mean of the numbers, float64 (1,)."""
    if task.is_regression:
        return np.array([TargetScale.of(targets, task).mean])
    return (np.bincount(targets, minlength=task.outputs) / len(targets)).astype(np.float32)


def state_of(prior: np.ndarray, scale: TargetScale | None) -> dict[str, Any]:
    """Return the prior and the scale of a predictor as JSON, for `read_state`."""
    return {
        "prior": prior.tolist(),
        "is_regression": scale is not None,
        "scale": None if scale is None else asdict(scale),
    }


def read_state(state: Mapping[str, Any]) -> tuple[np.ndarray, TargetScale | None]:
    """Return the prior and the scale that `state_of` wrote. A regression without a scale was fitted to its numbers."""
    if not state["is_regression"]:
        return np.array(state["prior"], dtype=np.float32), None
    return np.array(state["prior"], dtype=np.float64), TargetScale(**state.get("scale", {}))


def sample_rows(rows: int, most: int, seed: int) -> np.ndarray:
    """Return positions of at most `most` of `rows` rows, int (n,), ascending."""
    if most >= rows:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
