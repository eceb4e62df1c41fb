"""The fit of one ``MultiModalPredictor``: its rows, its settings, and its saved state."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from multimodal_algo.core.memory import available_bytes
from multimodal_algo.core.schema import Modality, modality_of
from multimodal_algo.execution.ranks import Rank
from multimodal_algo.predictors.base import FitSettings, sample_rows
from multimodal_algo.predictors.finetune._automm_compat import (
    correct_learner,
    finish_learner,
    forget_teacher,
    learner_of,
    required_columns,
)
from multimodal_algo.predictors.finetune.files import multimodal, quiet, read_predictor
from multimodal_algo.predictors.finetune.prediction import LABEL
from multimodal_algo.predictors.finetune.settings import automm_settings

if TYPE_CHECKING:
    from multimodal_algo.predictors.finetune.ddp import Group
    from multimodal_algo.predictors.finetune.resume import RunningFit

_LOG = logging.getLogger(__name__)

# One in ten rows of each part decides when to stop.
_VALIDATION = 10
# Without any time AutoMM returns an untrained network, and not the best one of a fit that goes on.
_LEAST_LIMIT_S = 1.0
_MEMORY_SHARE = 0.3
_MISSING_IMAGES = "data.image.missing_value_strategy"
_TYPES = {"text": "text", "num": "numerical", "cat": "categorical", "image": "image_bytearray"}


@dataclass(frozen=True)
class PartFit:
    """The fit of one part, which is one of the three networks of a fine-tuned predictor.

    Parameters
    ----------
    settings
        Settings of the fit. Its model settings are AutoMM's dotted hyperparameters, which override our defaults. The
        state of the running fit is saved in its checkpoints.
    part
        Number of the part, from 0.
    inputs
        One row per target.
    targets
        Class indices, int (rows,), or numbers, float (rows,).
    known
        Positions of the rows to learn from, int (n,).
    limit_s
        Seconds that the fit may take in all starts of the job together.
    teacher
        Directory of a predictor whose predictions are learned too, or None.
    """

    settings: FitSettings
    part: int
    inputs: pd.DataFrame
    targets: np.ndarray
    known: np.ndarray
    limit_s: float
    teacher: Path | None = None

    def run(self, rank: Rank | None = None) -> Any:
        """Return the fitted ``MultiModalPredictor``, or None if all known rows have the same class.

        Several processes can fit one predictor together. They call this method with the same values and different
        ranks. The first rank returns the predictor, and the other ranks return None. All processes together take as
        many rows in a step as one process would, and each takes at least one row. The time limit of the first rank
        counts.

        Parameters
        ----------
        rank
            Rank of this process, or None if no other process takes part. Several processes cannot save a state.

        Raises
        ------
        Stopped
            A stop was requested, and the state of the fit is saved.
        """
        settings = self.settings
        if rank is None:
            if settings.checkpoints is None:
                return self._fit(None, None)
            from multimodal_algo.predictors.finetune.resume import RunningFit

            running = RunningFit(settings.checkpoints, settings.stop, branch=settings.name, part=self.part)
            return self._fit(running, None)
        assert settings.checkpoints is None
        from multimodal_algo.predictors.finetune.ddp import Group, NotFirstRank

        with Group(rank) as group:
            try:
                return self._fit(None, group)
            except NotFirstRank:
                return None
            finally:
                if not rank.is_first:
                    shutil.rmtree(self._directory(rank), ignore_errors=True)

    def _fit(self, running: RunningFit | None, group: Group | None) -> Any:
        settings = self.settings
        known = running.rows if running else None
        if known is None:
            known = _rows_that_fit(self.inputs, self._with_images(self.known), settings.seed, group)
        labels = np.unique(self.targets[known])
        if len(labels) < 2:
            return None
        teacher = self._read_teacher(labels)
        path = self._directory(group.rank if group else None)
        shutil.rmtree(path, ignore_errors=True)
        training, tuning = self._tables(known)
        hyperparameters = self._hyperparameters(len(training), teacher, group)
        with quiet():
            predictor = self._new_predictor(path, len(labels))
            correct_learner(learner_of(predictor))
            if running:
                running.watch(learner_of(predictor), known, seed=settings.seed)
            if group:
                group.watch(learner_of(predictor), seed=settings.seed)
            predictor.fit(
                training,
                tuning_data=tuning,
                time_limit=max(_LEAST_LIMIT_S, self.limit_s),
                hyperparameters=hyperparameters,
                column_types=self._column_types(),
                seed=settings.seed,
                standalone=True,
                teacher_predictor=teacher,
            )
        finish_learner(learner_of(predictor))
        if teacher is not None:
            forget_teacher(learner_of(predictor))
        return predictor

    def _with_images(self, rows: np.ndarray) -> np.ndarray:
        """Leave out rows without an image, if the settings say so. At inference AutoMM would fail on such rows."""
        if self.settings.model_settings.get(_MISSING_IMAGES) != "skip":
            return rows
        images = [column for column in self.inputs.columns if modality_of(column) is Modality.IMAGE]
        kept = rows[self.inputs[images].notna().to_numpy()[rows].all(axis=1)]
        if len(kept) < len(rows):
            _LOG.info("%s: fitted without %d rows that lack an image", self.settings.name, len(rows) - len(kept))
        return kept

    def _new_predictor(self, path: Path, labels: int) -> Any:
        is_regression = self.settings.task.is_regression
        return multimodal()(
            label=LABEL,
            problem_type="regression" if is_regression else "binary" if labels == 2 else "multiclass",
            eval_metric="root_mean_squared_error" if is_regression else "log_loss",
            path=str(path),
            verbosity=0,
            enable_progress_bar=False,
        )

    def _hyperparameters(self, rows: int, teacher: Any, group: Group | None) -> dict[str, Any]:
        return automm_settings(
            {modality for column in self.inputs.columns if (modality := modality_of(column))},
            self.settings.model_settings,
            rows=rows,
            ranks=group.rank.size if group else None,
            has_teacher=teacher is not None,
        )

    def _column_types(self) -> dict[str, str]:
        types = {column: _TYPES[str(modality_of(column))] for column in self.inputs.columns}
        return {**types, LABEL: "numerical" if self.settings.task.is_regression else "categorical"}

    def _directory(self, rank: Rank | None) -> Path:
        """Return the directory for AutoMM's files.

        Each process of a fit has its own, because several may share a disk.
        """
        name = str(self.part) if rank is None or rank.is_first else f"{self.part}.rank{rank.rank}"
        return self.settings.scratch / name

    def _tables(self, known: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return two tables with labels: rows to learn from, and rows whose loss decides when training stops."""
        is_regression, targets = self.settings.task.is_regression, self.targets[known]
        table = self.inputs.iloc[known].reset_index(drop=True)
        table[LABEL] = targets if is_regression else targets.astype(int)
        deciding = np.random.default_rng(self.settings.seed).permutation(len(table)) % _VALIDATION == 0
        if not is_regression:
            # No class may be among the deciding rows only.
            labels, counts = np.unique(targets, return_counts=True)
            deciding &= ~np.isin(targets, labels[counts < 2 * _VALIDATION])
        training, tuning = table[~deciding], table[deciding]
        if tuning.empty:  # all classes are rare, so every row is needed to learn from
            tuning = table.head(max(1, len(table) // _VALIDATION))
        return training.reset_index(drop=True), tuning.reset_index(drop=True)

    def _read_teacher(self, labels: np.ndarray) -> Any:
        """Return the predictor that teaches this fit, or None. It is not used if it has other classes or columns."""
        if self.teacher is None:
            return None
        teacher = read_predictor(self.teacher)
        learner = learner_of(teacher)
        same_classes = self.settings.task.is_regression or [int(label) for label in learner.class_labels] == (
            labels.tolist()
        )
        if same_classes and required_columns(learner) <= set(self.inputs.columns):
            return teacher
        _LOG.warning(
            "%s: part %d is fitted without its teacher, which knows other classes or columns",
            self.settings.name, self.part,
        )  # fmt: skip
        return None


def _rows_that_fit(inputs: pd.DataFrame, rows: np.ndarray, seed: int, group: Group | None) -> np.ndarray:
    """Return a sample of `rows` that fits into the memory of each process.

    AutoMM holds all rows in memory, several times.
    """
    sample = inputs.head(1000)
    lists = sum(map(_bytes_of_list, sample.to_numpy(dtype=object).ravel()))  # pandas does not count what is in a list
    size = int(sample.memory_usage(deep=True, index=False).sum()) + lists
    per_row = 3 * max(1, size // max(1, len(sample)))
    neighbours = group.rank.neighbours if group else 1
    most = max(1000, int(_MEMORY_SHARE * available_bytes() / neighbours / per_row))
    if group:
        most = group.least(most)
    if most < len(rows):
        _LOG.warning("fine-tuning on %d of %d rows, which is what memory allows", most, len(rows))
    return rows[sample_rows(len(rows), most, seed)]


def _bytes_of_list(cell: Any) -> int:
    return sum(map(len, cell)) if isinstance(cell, list) else 0
