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
    """How the models of one branch (partial model) are fitted: everything that a fit needs except the rows.

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
        Store for finished parts of the fit. A later start of the same job takes them from there. None saves nothing.
    stop
        Request to save the state and to end with `Stopped`.
    parallelism
        Permission to run parts of the fit on several hosts. None to use this process alone.
    teacher
        Directory of a fitted predictor of the same branch. Its predictions are learned in addition to the labels. Only
        `FineTunedPredictor` uses a teacher.
    logarithm
        Whether models learn the logarithms of the labels, see `TargetScale`.
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
    logarithm: bool = False


class BranchPredictor(ABC):
    """Fits the models of one branch (partial model) and predicts new rows.

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
        """Fit a predictor, and predict each row by a model that was not fitted to the row.

        Parameters
        ----------
        inputs
            One row per target.
        targets
            Class indices, int (rows,), or numbers, float (rows,).
        folds
            Fold of each row, int (rows,).
        settings
            Models to fit, time limit and everything else that the fit takes.

        Returns
        -------
        predictor
            The predictor that goes into the artifact.
        out_of_fold
            Predictions of each row by a model that was fitted without its fold: float32 (rows, n), or float64 (rows, 1)
            for a regression.
        """

    @abstractmethod
    def predict(self, inputs: Table) -> np.ndarray:
        """Return the class probabilities of each row, float32 (rows, n), or predicted numbers, float64 (rows, 1)."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write the predictor into `directory`, without the files that only training needs."""

    @classmethod
    @abstractmethod
    def load(cls, directory: Path, engine: Engine = Engine.AUTO) -> BranchPredictor:
        """Read a predictor that `save` wrote, with its models in memory.

        `engine` is the library that runs fine-tuned networks.
        """


@dataclass(frozen=True)
class TargetScale:
    """The mean and the standard deviation of the numbers that a regression learns.

    Models compute in float32, which has seven digits: it rounds a number near 1.7e9 by up to 64. So models learn
    numbers with mean 0 and deviation 1, and their predictions are scaled back in float64.

    Parameters
    ----------
    mean, deviation
        Mean and standard deviation of the numbers, or of their logarithms. With 0 and 1 nothing changes.
    logarithm
        Whether models learn the logarithms of the numbers, which are above 0.
    least, greatest
        Bounds of standardised predictions, one deviation beyond the labels. None if models learn the numbers, not their
        logarithms. Without bounds, a logarithm that is too large by 10 gives a number that is 22,000 times too large.
    """

    mean: float = 0.0
    deviation: float = 1.0
    logarithm: bool = False
    least: float | None = None
    greatest: float | None = None

    @classmethod
    def of(cls, targets: np.ndarray, task: Task, *, logarithm: bool = False) -> TargetScale:
        """Return the scale of the numbers `targets`, float64 (rows,). For class indices, it changes nothing.

        With `logarithm`, models learn the logarithms of the numbers. All numbers must then be above 0.
        """
        if not task.is_regression:
            return cls()
        if logarithm:
            logarithms = np.log(targets)
            plain = cls.of(logarithms, task)
            bounds = plain.standardised(np.array([logarithms.min(), logarithms.max()]))
            return cls(plain.mean, plain.deviation, True, float(bounds[0]) - 1, float(bounds[1]) + 1)
        largest = float(np.abs(targets).max()) or 1.0  # the squares of huge numbers are infinite, those of tiny ones 0
        shares = targets / largest
        return cls(float(shares.mean()) * largest, float(shares.std()) * largest or 1.0)

    def standardised(self, targets: np.ndarray) -> np.ndarray:
        """Return the numbers with mean 0 and deviation 1, float64 (rows,). Class indices are returned as they are."""
        if self == TargetScale():
            return targets
        return ((np.log(targets) if self.logarithm else targets) - self.mean) / self.deviation

    def restored(self, predictions: np.ndarray) -> np.ndarray:
        """Return predictions of standardised numbers in the original unit, float64 of the same shape."""
        numbers = np.asarray(predictions, dtype=np.float64)
        if self.logarithm:
            return np.asarray(np.exp(np.clip(numbers, self.least, self.greatest) * self.deviation + self.mean))
        return numbers * self.deviation + self.mean


def prior_of(targets: np.ndarray, task: Task) -> np.ndarray:
    """Return the answer without any input (prior): the share of each class, float32 (n,), or the mean, float64 (1,)."""
    if task.is_regression:
        return np.array([TargetScale.of(targets, task).mean])
    return (np.bincount(targets, minlength=task.outputs) / len(targets)).astype(np.float32)


def state_of(prior: np.ndarray, scale: TargetScale | None) -> dict[str, Any]:
    """Return the prior (answer without any input) and the scale of a predictor as a dictionary for a JSON file."""
    return {
        "prior": prior.tolist(),
        "is_regression": scale is not None,
        "scale": None if scale is None else asdict(scale),
    }


def read_state(state: Mapping[str, Any]) -> tuple[np.ndarray, TargetScale | None]:
    """Return the prior (answer without any input) and the scale from a dictionary that `state_of` made.

    If a regression has no scale there, its models were fitted to the numbers themselves.
    """
    if not state["is_regression"]:
        return np.array(state["prior"], dtype=np.float32), None
    return np.array(state["prior"], dtype=np.float64), TargetScale(**state.get("scale", {}))


def sample_rows(rows: int, most: int, seed: int) -> np.ndarray:
    """Return the positions of `most` random rows, ascending, int (n,), or of all `rows` rows if these are fewer."""
    if most >= rows:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
