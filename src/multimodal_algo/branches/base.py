"""The interface of a branch, and the rules that all branches share: which rows have a vote, and what a vote is.

A branch's vote on a row is a vector of n + 1 numbers: n predictions, and a last entry that is 1 if the branch has no
vote. A branch neither learns from rows with too few filled cells nor votes on them. The guide trains a class for the
last entry. This rule gives the same vector without a model.
"""

from __future__ import annotations

import copy
import logging
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from multimodal_algo.config.inference import Engine
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.task import Task
from multimodal_algo.ingest.features import Features
from multimodal_algo.ingest.informed import too_few_to_distinguish
from multimodal_algo.predictors.base import BranchPredictor, FitSettings
from multimodal_algo.predictors.inputs import Inputs
from multimodal_algo.predictors.tabular import AutoGluonPredictor

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingRows:
    """The training rows, as all branches (partial models) get them.

    Parameters
    ----------
    features
        Features of all rows.
    targets
        Class index of each row, int (rows,), or its number, float (rows,).
    folds
        Fold of each row, int (rows,). All branches have the same folds. No model is fitted to rows with a
        fold below 0.
    logarithm
        Whether predictors learn the logarithms of the numbers. Votes are numbers, not logarithms, in both cases.
    """

    features: Features
    targets: np.ndarray
    folds: np.ndarray
    logarithm: bool = False


class BranchModel(ABC):
    """The model of one branch (partial model).

    It reads the columns of one modality, one image column, or columns of several modalities.

    Training, checkpoints, export and serving all use these methods::

        model = TextModel("text", ("title_text",), task)
        out_of_fold = model.fit(rows, settings, min_completeness=0.5)
        model.save(directory)
        model.load(directory)
        votes = model.predict(features, min_completeness=0.5)

    A new branch overrides `inputs`. It may also override `predictor_class` and `completeness`. An entry in
    ``branches/registry.py`` makes it known.

    Parameters
    ----------
    name
        Name in logs, and directory in the artifact: ``text``, ``num``, ``cat``, ``img/<column>``.
    columns
        Columns that the branch reads.
    task
        Problem type and number of outputs.
    """

    def __init__(self, name: str, columns: tuple[str, ...], task: Task) -> None:
        self.name = name
        self.columns = columns
        self.task = task
        self._predictor: BranchPredictor | None = None

    def renamed(self, name: str) -> Self:
        """Return a copy of this model with another name."""
        other = copy.copy(self)
        other.name = name
        return other

    def completeness(self, features: Features) -> np.ndarray:
        """Return the share of each row's cells that are filled, among the branch's columns, float (rows,)."""
        return np.mean([features.filled(column) for column in self.columns], axis=0)

    @property
    def predictor_class(self) -> type[BranchPredictor]:
        """The class that fits the models of this branch and predicts with them."""
        return AutoGluonPredictor

    @abstractmethod
    def inputs(self, features: Features) -> Inputs:
        """Return the columns that the predictor gets, with one row for each row of `features`."""

    def informed(self, features: Features, min_completeness: float) -> np.ndarray:
        """Return which rows have enough filled cells for a vote, bool (rows,).

        A row without any filled cell never has a vote.

        Parameters
        ----------
        features
            Features of the rows.
        min_completeness
            Least share of filled cells that a row needs.
        """
        share = self.completeness(features)
        return (share > 0) & (share >= min_completeness - 1e-9)

    def fit(self, rows: TrainingRows, settings: FitSettings, *, min_completeness: float) -> np.ndarray:
        """Fit the branch's models. Return votes on the training rows, each by a model that was not fitted to the row.

        No model is fitted to rows with a fold below 0. They get the votes of the last fit.

        Parameters
        ----------
        rows
            Training rows.
        settings
            Models to fit, time limit and everything else that the fit takes.
        min_completeness
            See `informed`.

        Returns
        -------
        numpy.ndarray
            Votes on the training rows, each by a model that was not fitted to the row: float32 (rows, n + 1), or
            float64 (rows, 2) for a regression.

        Raises
        ------
        UserError
            The rows that have a vote all have the same class, or the same number.
        Stopped
            A stop was requested, and the state of the fit is saved.
        """
        started = time.monotonic()
        informed = self.informed(rows.features, min_completeness) & (rows.folds >= 0)
        targets = rows.targets[informed]
        if len(np.unique(targets)) < 2:
            raise UserError(too_few_to_distinguish(self.columns, len(targets), len(informed)))
        inputs = self.inputs(rows.features.take(np.flatnonzero(informed)))
        settings = replace(settings, logarithm=rows.logarithm)
        self._predictor, out_of_fold = self.predictor_class.fit(inputs.frame(), targets, rows.folds[informed], settings)
        seconds = time.monotonic() - started
        _LOG.info("%s: fitted on %d of %d rows in %.1f s", self.name, len(inputs), len(informed), seconds)
        votes = self._votes(out_of_fold, informed)
        if len(without_fold := np.flatnonzero(rows.folds < 0)):
            votes[without_fold] = self.predict(rows.features.take(without_fold), min_completeness=min_completeness)
        return votes

    def predict(self, features: Features, *, min_completeness: float) -> np.ndarray:
        """Return the votes on new rows, float32 (rows, n + 1), or float64 (rows, 2) for a regression."""
        assert self._predictor is not None
        informed = self.informed(features, min_completeness)
        predictions = np.zeros((int(informed.sum()), self.task.outputs), dtype=self.task.dtype)
        if informed.any():
            voting = features if informed.all() else features.take(np.flatnonzero(informed))
            predictions = self._predictor.predict(self.inputs(voting))
        return self._votes(predictions, informed)

    def _votes(self, predictions: np.ndarray, informed: np.ndarray) -> np.ndarray:
        """Return the votes on all rows, (rows, n + 1).

        `predictions` are for the `informed` rows, and other rows have no vote.
        """
        votes = np.zeros((len(informed), self.task.outputs + 1), dtype=self.task.dtype)
        votes[informed, : self.task.outputs] = predictions
        votes[~informed, self.task.outputs] = 1.0
        return votes

    def save(self, directory: Path) -> None:
        """Write everything that inference needs into `directory`."""
        assert self._predictor is not None
        self._predictor.save(directory)

    def load(self, directory: Path, engine: Engine = Engine.AUTO) -> None:
        """Read the files that `save` wrote. `engine` is the library that runs fine-tuned networks."""
        self._predictor = self.predictor_class.load(directory, engine)
