"""The protocol of a modality model, and what all of them share: gating, folds, and the n + 1 vectors.

A row that says too little in a modality does not enter its training, and its vector is exactly one-hot on
entry n: the model is not asked. (The guide trains class n as a label; gating gives the same vector.)
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from multimodal_algo.budget import Budget
from multimodal_algo.errors import UserError
from multimodal_algo.ingest.features import Features
from multimodal_algo.modalities.head import TabularHead
from multimodal_algo.recipes import Models

_LOG = logging.getLogger(__name__)


class ModalityModel(ABC):
    """A model of the columns of one modality (of one image column, for images).

    Parameters
    ----------
    name
        Its name in logs and its directory in the artifact: ``text``, ``num``, ``cat``, ``img/<column>``.
    columns
        Its feature columns.
    n_classes
        Number of classes n of the artifact's class list.
    """

    vectors_only: ClassVar[bool]
    """Whether `inputs` are plain numbers of a frozen network, which need no feature generation."""

    def __init__(self, name: str, columns: tuple[str, ...], n_classes: int) -> None:
        self.name = name
        self.columns = columns
        self.n_classes = n_classes
        self._head: TabularHead | None = None

    @abstractmethod
    def completeness(self, features: Features) -> np.ndarray:
        """Share of filled cells of each row among `columns`, float (rows,)."""

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
        labels: np.ndarray,
        folds: np.ndarray,
        budget: Budget,
        *,
        models: Models,
        min_completeness: float,
        seed: int,
        scratch: Path,
    ) -> np.ndarray:
        """Fit once per fold and once on all rows.

        Parameters
        ----------
        features
            All rows.
        labels
            Class index of each row, int (rows,).
        folds
            Fold of each row, int (rows,); the same for every modality.
        budget
            When to be done.
        models
            AutoGluon's models, from the recipe.
        min_completeness
            See `informed`.
        seed
            Seed of AutoGluon's hold-out split.
        scratch
            Directory for AutoGluon's files while it fits.

        Returns
        -------
        numpy.ndarray
            Out-of-fold vectors, float32 (rows, n + 1).

        Raises
        ------
        UserError
            Fewer than two classes among the rows that say enough.
        """
        started = time.monotonic()
        informed = self.informed(features, min_completeness)
        if len(np.unique(labels[informed])) < 2:
            raise UserError(
                f"The columns {', '.join(self.columns)} are filled in {int(informed.sum())} of {len(labels)} rows, "
                "which is too few to tell classes apart. Fill or drop them."
            )
        inputs = self.inputs(features.take(np.flatnonzero(informed)))
        rows = labels[informed]
        row_folds = folds[informed]
        prepared = time.monotonic()

        probabilities = np.zeros((len(rows), self.n_classes), dtype=np.float32)
        parts = np.unique(folds)
        fits_left = len(parts) + 1
        for fold in parts:
            held_out = row_folds == fold
            head = self._fitted(
                inputs[~held_out], rows[~held_out], budget.share(1, fits_left), models, seed, scratch / f"fold-{fold}"
            )
            if held_out.any():
                probabilities[held_out] = head.predict(inputs[held_out])
            fits_left -= 1
        self._head = self._fitted(inputs, rows, budget, models, seed, scratch / "all")
        _LOG.info(
            "%s: %d of %d rows, %d inputs, %.1f s to prepare, %.1f s for %d fits",
            self.name, len(rows), len(labels), inputs.shape[1], prepared - started,
            time.monotonic() - prepared, len(parts) + 1,
        )  # fmt: skip
        return _vectors(probabilities, informed, self.n_classes)

    def predict(self, features: Features, *, min_completeness: float) -> np.ndarray:
        """Vectors of new rows, float32 (rows, n + 1); one-hot on entry n where a row says too little."""
        assert self._head is not None
        informed = self.informed(features, min_completeness)
        probabilities = np.zeros((int(informed.sum()), self.n_classes), dtype=np.float32)
        if informed.any():
            probabilities = self._head.predict(self.inputs(features.take(np.flatnonzero(informed))))
        return _vectors(probabilities, informed, self.n_classes)

    def save(self, directory: Path) -> None:
        """Write all that inference needs into `directory`."""
        assert self._head is not None
        self._head.save(directory)

    def load(self, directory: Path) -> None:
        """Read what `save` wrote."""
        self._head = TabularHead.load(directory)

    def _fitted(
        self, inputs: pd.DataFrame, labels: np.ndarray, budget: Budget, models: Models, seed: int, path: Path
    ) -> TabularHead:
        return TabularHead.fit(
            inputs,
            labels,
            n_classes=self.n_classes,
            models=models,
            budget=budget,
            vectors_only=self.vectors_only,
            seed=seed,
            path=path,
        )


def _vectors(probabilities: np.ndarray, informed: np.ndarray, n_classes: int) -> np.ndarray:
    vectors = np.zeros((len(informed), n_classes + 1), dtype=np.float32)
    vectors[informed, :n_classes] = probabilities
    vectors[~informed, n_classes] = 1.0
    return vectors
