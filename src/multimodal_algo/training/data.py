"""The rows of a job, with their labels and folds."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.labels import Target
from multimodal_algo.fusion.folds import stratified_folds
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.training.duplicates import RowGroups, find_groups

_LOG = logging.getLogger(__name__)

# Values of a text column that so many rows share are mentioned in the log.
_MENTIONED_SHARE = 0.1


@dataclass(frozen=True)
class ValidationRows:
    """Those rows of the validation channel whose label also occurs in the training rows.

    Parameters
    ----------
    dataset
        All rows of the validation channel.
    rows
        Positions in `dataset` of the rows that are used, int (rows,).
    targets
        Class indices, int (rows,), or numbers, float (rows,).
    """

    dataset: Dataset
    rows: np.ndarray
    targets: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, target: Target) -> ValidationRows:
        """Return the rows of `dataset` without those whose label no training row has.

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
    """The rows that a job learns from, and the rows on which it is measured.

    Parameters
    ----------
    dataset
        The training rows.
    target
        Labels of the training rows.
    folds
        Fold of each training row, int (rows,).
    validation
        The rows of the validation channel. None if there is no such channel: then each fold of the training rows is
        held out in turn.
    groups
        Which rows are duplicates and so must be in the same fold.
    """

    dataset: Dataset
    target: Target
    folds: np.ndarray
    validation: ValidationRows | None
    groups: RowGroups

    @classmethod
    def of(
        cls, dataset: Dataset, target: Target, validation: ValidationRows | None, *, count: int, seed: int
    ) -> TrainingData:
        """Return the data of a job, with its training rows dealt to `count` folds. Duplicate rows are in the same fold.

        Each fold has about the same share of each class.
        """
        groups = find_groups(dataset, target.values)
        distinct = len(np.unique(groups.groups))
        if dataset.group_columns and distinct < 2:
            raise UserError(
                f"The hyperparameter group_by={','.join(dataset.group_columns)[:60]} links all {len(dataset)} rows, so "
                "that none can be held out. Name columns that have at least two values."
            )
        _log_groups(groups, len(dataset))
        folds = stratified_folds(target.values, min(count, distinct), seed, groups.groups)
        return cls(dataset, target, folds, validation, groups)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the rows, and which columns show duplicate rows, for the report."""
        return (*self.dataset.warnings, *_linked(self.groups))


def _linked(groups: RowGroups) -> list[str]:
    if not groups.linked:
        return []
    columns = ", ".join(f"{name} in {rows:,} rows" for name, rows in groups.linked.items())
    return [f"Rows with the same content are held out together, by {columns}"]


def _log_groups(groups: RowGroups, rows: int) -> None:
    for line in _linked(groups):
        _LOG.info("folds: %s", line[0].lower() + line[1:])
    for column, shared in groups.shared.items():
        if shared >= _MENTIONED_SHARE * rows:
            _LOG.info(
                "folds: %d of %d rows share a value of %s with other rows, and new rows are taken to do so as well. If "
                "new rows have other values, set group_by=%s",
                shared, rows, column, column,
            )  # fmt: skip


def log_labels(target: Target, problem_type: str) -> None:
    """Log the number of classes or the range of numbers. Warn if whole numbers may be names of classes.

    Parameters
    ----------
    target
        The labels of the training rows.
    problem_type
        The hyperparameter ``problem_type``.
    """
    if not target.task.is_regression:
        _LOG.info("labels: %d classes", len(target.classes))
        return
    _LOG.info("labels: numbers from %r to %r, a regression", float(target.values.min()), float(target.values.max()))
    if problem_type == "auto" and np.all(target.values == target.values.round()):
        _LOG.warning("labels: whole numbers, taken for amounts. Set problem_type=multiclass if they name classes")
