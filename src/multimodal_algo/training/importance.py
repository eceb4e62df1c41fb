"""Measures the importance of each column for the report, in a small share of the job's time."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from multimodal_algo.core.column_names import ColumnNames
from multimodal_algo.core.metrics import metrics_of
from multimodal_algo.core.schema import modality_of
from multimodal_algo.core.task import Task
from multimodal_algo.fusion.fusion import Fusion
from multimodal_algo.fusion.votes import Votes
from multimodal_algo.ingest.features import Features
from multimodal_algo.report.importance import Importance, importances
from multimodal_algo.report.metrics import HeldOutResults
from multimodal_algo.training.fitting import FittedBranches

_LOG = logging.getLogger(__name__)

_ROWS = 300
_PROBED_ROWS = 32
_VALUES = ["importance", "low", "high"]
_LEAST_REPEATS, _MOST_REPEATS = 2, 5
# The share of the fitting time that the measurement may take, and the seconds that it may take in a short job.
_SHARE, _SHORT_S = 0.02, 1.0


@dataclass(frozen=True)
class FittedModel:
    """The fitted branches of a job and their fusion, which together predict rows.

    Parameters
    ----------
    branches
        The fitted branches.
    fusion
        The fusion of the votes of the branches.
    min_completeness
        The hyperparameter of this name.
    """

    branches: FittedBranches
    fusion: Fusion
    min_completeness: float


@dataclass(frozen=True)
class _Predictions:
    """Function that predicts the same rows again and again, each time with other values in one column.

    Only branches that read the replaced column vote again. The votes of the others are known.

    Parameters
    ----------
    model
        The model.
    features
        The rows before a column is replaced.
    """

    model: FittedModel
    features: Features

    @cached_property
    def _votes(self) -> list[np.ndarray]:
        return [
            model.predict(self.features, min_completeness=self.model.min_completeness)
            for _, model in self.model.branches.models
        ]

    def __call__(self, features: Features) -> np.ndarray:
        """Return the predictions for the rows with replaced values, float (rows, n)."""
        votes = [
            vector
            if all(self._is_same(features, column) for column in model.columns)
            else model.predict(features, min_completeness=self.model.min_completeness)
            for vector, (_, model) in zip(self._votes, self.model.branches.models, strict=True)
        ]
        return self.model.fusion.predict(Votes.stack(votes))

    def _is_same(self, features: Features, column: str) -> bool:
        old, new = self.features, features
        return old.cells.get(column) is new.cells.get(column) and old.vectors.get(column) is new.vectors.get(column)


def column_importance(
    model: FittedModel, results: HeldOutResults, task: Task, eval_metric: str, names: ColumnNames, *, fit_s: float
) -> list[Importance]:
    """Return the importance of each column on a sample of the held-out rows, the most important first.

    Parameters
    ----------
    model
        The models of the job.
    results
        The held-out rows. The models were fitted to those that are training rows.
    task
        Task of the model.
    eval_metric
        Name of the metric with which training selected the model.
    names
        The user's own names of the columns.
    fit_s
        Seconds that fitting took. The measurement may take a fiftieth of this time, and at least 1 s. If it would take
        longer, the result is empty.
    """
    columns = results.dataset.schema.features
    chosen = np.sort(np.random.default_rng(0).permutation(len(results.rows))[:_ROWS])
    features = results.dataset.features.take(results.rows[chosen])
    allowed_s = max(_SHORT_S, _SHARE * fit_s)
    started = time.monotonic()
    seconds = _seconds(model, features, allowed_s)
    readers = sum(column in branch.columns for column in columns for _, branch in model.branches.models)
    repeats = int(allowed_s / max(seconds * readers / len(model.branches.models), 1e-9))
    if repeats < _LEAST_REPEATS:
        _LOG.info("report: the importance of columns is left out, since it would take more than %.0f s", allowed_s)
        return []
    frame = importances(
        _Predictions(model, features), features, results.targets[chosen], {column: [column] for column in columns},
        metrics_of(task)[eval_metric], repeats=min(repeats, _MOST_REPEATS), seed=0,
    )  # fmt: skip
    _LOG.info("report: the importance of %d columns took %.1f s", len(columns), time.monotonic() - started)
    measured = [
        Importance(names.own(column), str(modality_of(column)), *map(float, frame.loc[column, _VALUES]))
        for column in columns
    ]
    return sorted(measured, key=lambda each: -each.loss)


def _seconds(model: FittedModel, features: Features, allowed_s: float) -> float:
    """Return the seconds that one prediction of all rows takes.

    If a few rows show that this is more than `allowed_s`, estimate the time from these rows.
    """
    few = features.take(np.arange(min(_PROBED_ROWS, len(features))))
    seconds = 0.0
    for rows in (few, features):
        started = time.monotonic()
        _ = _Predictions(model, rows)(rows)
        seconds = time.monotonic() - started
        if seconds * len(features) / len(rows) > allowed_s:
            return seconds * len(features) / len(rows)
    return seconds
