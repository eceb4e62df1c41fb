"""The protocol of a branch, and what all branches share: completeness, folds and votes.

The vote of a row is a vector of n + 1 numbers: n predictions, and one entry that is 1 where the branch has no vote. A
row with too few filled cells does not enter the training of a branch, and has no vote in it. The guide trains entry n
as a class. This rule gives the same vector without a model.
"""

from __future__ import annotations

import copy
import logging
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
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
    """The rows that branches are fitted to.

    Parameters
    ----------
    features
        Features of all rows.
    targets
        Class index of each row, int (rows,), or its number, float (rows,).
    folds
        Fold of each row, int (rows,). All branches have the same folds.
    """

    features: Features
    targets: np.ndarray
    folds: np.ndarray


class BranchModel(ABC):
    """The model of one branch: of the columns of one modality, of one image column, or of several modalities.

    Training, checkpoints, export and serving all go through these calls::

        model = TextModel("text", ("title_text",), task)
        out_of_fold = model.fit(rows, settings, min_completeness=0.5)
        model.save(directory)
        model.load(directory)
        votes = model.predict(features, min_completeness=0.5)

    A new branch overrides `inputs`. It may override `predictor_class`, and `completeness`. Its entry in
    ``branches/registry.py`` makes it known.

    Parameters
    ----------
    name
        Name in logs, and directory in the artifact: ``text``, ``num``, ``cat``, ``img/<column>``.
    columns
        Feature columns.
    task
        Problem type and number of outputs.
    """

    def __init__(self, name: str, columns: tuple[str, ...], task: Task) -> None:
        self.name = name
        self.columns = columns
        self.task = task
        self._predictor: BranchPredictor | None = None

    def renamed(self, name: str) -> Self:
        """Return this model under another name."""
        other = copy.copy(self)
        other.name = name
        return other

    def completeness(self, features: Features) -> np.ndarray:
        """Return the share of filled cells of each row among `columns`, float (rows,)."""
        return np.mean([features.filled(column) for column in self.columns], axis=0)

    @property
    def predictor_class(self) -> type[BranchPredictor]:
        """The class of the predictor."""
        return AutoGluonPredictor

    @abstractmethod
    def inputs(self, features: Features) -> Inputs:
        """Return the columns that the predictor gets, one row per row of `features`."""

    def informed(self, features: Features, min_completeness: float) -> np.ndarray:
        """Return the rows that have a vote, bool (rows,). A row without any filled cell never has one.

        Parameters
        ----------
        features
            Features of the rows.
        min_completeness
            Least share of filled cells.
        """
        share = self.completeness(features)
        return (share > 0) & (share >= min_completeness - 1e-9)

    def fit(self, rows: TrainingRows, settings: FitSettings, *, min_completeness: float) -> np.ndarray:
        """Fit once per fold and once on all rows.

        Parameters
        ----------
        rows
            Training rows.
        settings
            Settings of the fit.
        min_completeness
            See `informed`.

        Returns
        -------
        numpy.ndarray
            Out-of-fold votes: float32 (rows, n + 1), or float64 (rows, 2) for a regression.

        Raises
        ------
        UserError
            The rows that have a vote have fewer than two classes, or fewer than two numbers.
        Stopped
            The stop was asked, and the state of the fit is saved.
        """
        started = time.monotonic()
        informed = self.informed(rows.features, min_completeness)
        targets = rows.targets[informed]
        if len(np.unique(targets)) < 2:
            raise UserError(too_few_to_distinguish(self.columns, len(targets), len(informed)))
        inputs = self.inputs(rows.features.take(np.flatnonzero(informed)))
        self._predictor, out_of_fold = self.predictor_class.fit(inputs.frame(), targets, rows.folds[informed], settings)
        seconds = time.monotonic() - started
        _LOG.info("%s: fitted on %d of %d rows in %.1f s", self.name, len(inputs), len(informed), seconds)
        return self._votes(out_of_fold, informed)

    def predict(self, features: Features, *, min_completeness: float) -> np.ndarray:
        """Return the votes of new rows, as `fit` does."""
        assert self._predictor is not None
        informed = self.informed(features, min_completeness)
        predictions = np.zeros((int(informed.sum()), self.task.outputs), dtype=self.task.dtype)
        if informed.any():
            voting = features if informed.all() else features.take(np.flatnonzero(informed))
            predictions = self._predictor.predict(self.inputs(voting))
        return self._votes(predictions, informed)

    def _votes(self, predictions: np.ndarray, informed: np.ndarray) -> np.ndarray:
        """Return the votes, (rows, n + 1), from the predictions of the rows that have one."""
        votes = np.zeros((len(informed), self.task.outputs + 1), dtype=self.task.dtype)
        votes[informed, : self.task.outputs] = predictions
        votes[~informed, self.task.outputs] = 1.0
        return votes

    def save(self, directory: Path) -> None:
        """Write everything that inference needs into `directory`."""
        assert self._predictor is not None
        self._predictor.save(directory)

    def load(self, directory: Path, engine: Engine = Engine.AUTO) -> None:
        """Read the files that `save` wrote. `engine` runs fine-tuned networks."""
        self._predictor = self.predictor_class.load(directory, engine)
