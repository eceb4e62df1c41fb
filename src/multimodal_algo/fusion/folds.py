"""Stratified folds that every modality shares, and rows that the user has held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HeldOut:
    """Rows that no modality model was fitted to.

    Parameters
    ----------
    vectors
        What each modality says of them, float32 (rows, modalities, n + 1).
    labels
        Their class indices, int (rows,).
    names
        What to call each.
    """

    vectors: np.ndarray
    labels: np.ndarray
    names: Sequence[str]


def stratified_folds(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Deal the rows of each class to the folds in turn.

    Unlike scikit-learn's ``StratifiedKFold`` it takes classes with fewer rows than folds; the turn goes on from
    class to class, so that folds stay equally large.

    Parameters
    ----------
    labels
        Class index of each row, int (rows,).
    count
        Number of folds.
    seed
        Seed of the order within a class.

    Returns
    -------
    numpy.ndarray
        Fold of each row, int64 (rows,), from 0 to ``count - 1``.
    """
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    folds = np.empty(len(labels), dtype=np.int64)
    folds[by_class] = np.arange(len(labels)) % count
    return folds
