"""The rows of a job with their labels and folds."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.labels import Target
from multimodal_algo.fusion.folds import stratified_folds
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.training.duplicates import find_duplicates

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ValidationRows:
    """The rows of the validation channel whose label a training row has too.

    Parameters
    ----------
    dataset
        All rows of the channel.
    rows
        Positions of these rows in `dataset`, int (rows,).
    targets
        Class indices, int (rows,), or numbers, float (rows,).
    """

    dataset: Dataset
    rows: np.ndarray
    targets: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, target: Target) -> ValidationRows:
        """Leave out the rows whose label no training row has.

        Raises
        ------
        UserError
            No row is left.
        """
        values = target.values_of(dataset.labels)
        rows = np.arange(len(values)) if target.task.is_regression else np.flatnonzero(values >= 0)
        if len(rows) < len(dataset):
            _LOG.warning(
                "validation: %d of %d rows have a label that no training row has; they are left out",
                len(dataset) - len(rows), len(dataset),
            )  # fmt: skip
        if not len(rows):
            raise UserError("No row of the validation channel has a label that a training row has. Check the channels.")
        return cls(dataset, rows, values[rows])


@dataclass(frozen=True)
class TrainingData:
    """The rows that a job learns from, and those that it is measured on.

    Parameters
    ----------
    dataset
        The training rows.
    target
        Their labels.
    folds
        Fold of each training row, int (rows,).
    validation
        The rows of the validation channel. None without that channel: then the training rows are held out by folds.
    """

    dataset: Dataset
    target: Target
    folds: np.ndarray
    validation: ValidationRows | None


def folds_of(dataset: Dataset, target: Target, count: int, seed: int) -> np.ndarray:
    """Deal the rows to `count` stratified folds, int (rows,). Duplicate rows lie in one fold."""
    groups = find_duplicates(dataset.keys)
    duplicates = len(groups) - len(np.unique(groups))
    if duplicates:
        _LOG.info("folds: %d rows share a text or an image with other rows, and lie in the same fold", duplicates)
    return stratified_folds(target.values, count, seed, groups)


def log_labels(target: Target, problem_type: str) -> None:
    """Log the labels, and warn where whole numbers may be the names of classes.

    Parameters
    ----------
    target
        The labels of the training rows.
    problem_type
        The hyperparameter.
    """
    if not target.task.is_regression:
        _LOG.info("labels: %d classes", len(target.classes))
        return
    _LOG.info("labels: numbers from %r to %r, a regression", float(target.values.min()), float(target.values.max()))
    if problem_type == "auto" and np.all(target.values == target.values.round()):
        _LOG.warning("labels: whole numbers, taken for amounts. Set problem_type=multiclass if they name classes")
