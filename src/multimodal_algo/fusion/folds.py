"""Stratified folds that every modality shares, and rows that the user has held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HeldOut:
    """Rows that no modality model was fitted to.

    Parameters
    ----------
    vectors
        What each modality says of them, float32 (rows, modalities, n + 1).
    targets
        Their class indices, int (rows,), or numbers, float (rows,).
    """

    vectors: np.ndarray
    targets: np.ndarray


def stratified_folds(targets: np.ndarray, count: int, seed: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Deal the rows of each class, or of numbers of about the same size, to the folds in turn.

    Unlike scikit-learn's ``StratifiedKFold`` it takes classes with fewer rows than folds; the turn goes on from
    class to class, so that folds stay equally large.

    Parameters
    ----------
    targets
        Class index of each row, int (rows,), or its number, float (rows,).
    count
        Number of folds.
    seed
        Seed of the order within a class.
    groups
        Group of each row, int (rows,): rows of one group lie in one fold. Of each group one row is dealt.

    Returns
    -------
    numpy.ndarray
        Fold of each row, int64 (rows,), from 0 to ``count - 1``.
    """
    if groups is not None:
        _, first, group = np.unique(groups, return_index=True, return_inverse=True)
        return stratified_folds(targets[first], count, seed)[group]
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(targets))
    by_class = shuffled[np.argsort(targets[shuffled], kind="stable")]
    folds = np.empty(len(targets), dtype=np.int64)
    folds[by_class] = np.arange(len(targets)) % count
    return folds
