"""The protocol of a modality model, and what all of them share: gating, folds, and the n + 1 vectors.

A row that says too little in a modality does not enter its training, and its vector is exactly one-hot on
entry n: the model is not asked. (The guide trains class n as a label; gating gives the same vector.)
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from multimodal_algo.config.recipes import ModelSettings
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.checkpointing import CheckpointStore, StopRequest
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.task import Task
from multimodal_algo.execution.protocol import Parallelism
from multimodal_algo.ingest.features import Features
from multimodal_algo.predictors.tabular import AutoGluonPredictor, BranchPredictor

_LOG = logging.getLogger(__name__)


def vectors_of(models: Iterable[BranchModel], features: Features, *, min_completeness: float) -> np.ndarray:
    """What each of `models` says of new rows: float32 (rows, models, n + 1)."""
    return np.stack([model.predict(features, min_completeness=min_completeness) for model in models], axis=1)


class BranchModel(ABC):
    """A model of the columns of one modality (of one image column, for images), or of several modalities together.

    Parameters
    ----------
    name
        Its name in logs and its directory in the artifact: ``text``, ``num``, ``cat``, ``img/<column>``.
    columns
        Its feature columns.
    task
        What is predicted.
    """

    head: ClassVar[type[BranchPredictor]] = AutoGluonPredictor

    def __init__(self, name: str, columns: tuple[str, ...], task: Task) -> None:
        self.name = name
        self.columns = columns
        self.task = task
        self._head: BranchPredictor | None = None
        self.teacher: BranchModel | None = None
        """A larger model of the same columns and classes, which fine-tuned networks learn from."""

    def completeness(self, features: Features) -> np.ndarray:
        """Share of filled cells of each row among `columns`, float (rows,)."""
        return np.mean([features.filled(column) for column in self.columns], axis=0)

    @abstractmethod
    def inputs(self, features: Features) -> pd.DataFrame:
        """What AutoGluon gets, one row per row of `features`, missing cells imputed as the guide does."""

    def informed(self, features: Features, min_completeness: float) -> np.ndarray:
        """Which rows say enough: bool (rows,). A row with every cell empty never does."""
        share = self.completeness(features)
        return (share > 0) & (share >= min_completeness - 1e-9)

    def fit(
        self,
        features: Features,
        targets: np.ndarray,
        folds: np.ndarray,
        budget: Budget,
        *,
        models: ModelSettings,
        min_completeness: float,
        seed: int,
        scratch: Path,
        checkpoints: CheckpointStore | None = None,
        stop: StopRequest | None = None,
        parallelism: Parallelism | None = None,
    ) -> np.ndarray:
        """Fit once per fold and once on all rows.

        Parameters
        ----------
        features
            All rows.
        targets
            Class index of each row, int (rows,), or its number, float (rows,).
        folds
            Fold of each row, int (rows,); the same for every modality.
        budget
            When to be done.
        models
            AutoGluon's models, from the recipe.
        min_completeness
            See `informed`.
        seed
            AutoGluon's seed.
        scratch
            Directory for AutoGluon's files while it fits.
        keeper
            Where what is done of the fit is kept for a later start of the same job; None keeps nothing.
        stop
            Whether to keep what is done and end with `Stopped`.
        spread
            Leave to do parts of it on other hosts.

        Returns
        -------
        numpy.ndarray
            Out-of-fold vectors, float32 (rows, n + 1).

        Raises
        ------
        UserError
            Fewer than two classes, or numbers, among the rows that say enough.
        Stopped
            `stop` was asked, and the fit has kept its state.
        """
        started = time.monotonic()
        informed = self.informed(features, min_completeness)
        if len(np.unique(targets[informed])) < 2:
            raise UserError(
                f"The columns {', '.join(self.columns)} are filled in {int(informed.sum())} of {len(targets)} rows, "
                "which is too few to tell labels apart. Fill or drop them."
            )
        inputs = self.inputs(features.take(np.flatnonzero(informed)))
        self._head, out_of_fold = self.head.fit(
            inputs,
            targets[informed],
            folds[informed],
            task=self.task,
            models=models,
            budget=budget,
            seed=seed,
            path=scratch / "predictor",
            checkpoints=checkpoints,
            stop=stop,
            parallelism=parallelism,
            **self._options(),
        )
        _LOG.info("%s: %d of %d rows, %.1f s", self.name, len(inputs), len(targets), time.monotonic() - started)
        return self._vectors(out_of_fold, informed)

    def _options(self) -> dict[str, Any]:
        """What its kind of head takes beside what all take."""
        return {}

    def predict(self, features: Features, *, min_completeness: float) -> np.ndarray:
        """Vectors of new rows, float32 (rows, n + 1); one-hot on entry n where a row says too little."""
        assert self._head is not None
        informed = self.informed(features, min_completeness)
        answers = np.zeros((int(informed.sum()), self.task.outputs), dtype=np.float32)
        if informed.any():
            spoken = features if informed.all() else features.take(np.flatnonzero(informed))
            answers = self._head.predict(self.inputs(spoken))
        return self._vectors(answers, informed)

    def _vectors(self, answers: np.ndarray, informed: np.ndarray) -> np.ndarray:
        vectors = np.zeros((len(informed), self.task.outputs + 1), dtype=np.float32)
        vectors[informed, : self.task.outputs] = answers
        vectors[~informed, self.task.outputs] = 1.0
        return vectors

    def save(self, directory: Path) -> None:
        """Write all that inference needs into `directory`."""
        assert self._head is not None
        self._head.save(directory)

    def load(self, directory: Path) -> None:
        """Read what `save` wrote."""
        self._head = self.head.load(directory)
