"""The folds that all branches share, and the rows with votes that the fusion learns from and is measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multimodal_algo.fusion.votes import Votes

# Groups of more rows are dealt one by one, so that folds stay equally large.
_LARGE_GROUP = 10


@dataclass(frozen=True)
class HeldOut:
    """Rows that no branch (partial model) was fitted to, with the votes on them.

    Parameters
    ----------
    votes
        Votes of the branches on these rows.
    targets
        Class indices, int (rows,), or numbers, float (rows,).
    """

    votes: Votes
    targets: np.ndarray


@dataclass(frozen=True)
class OutOfFold:
    """Training rows with out-of-fold votes: the model behind each vote was fitted without the row's fold.

    Parameters
    ----------
    votes
        Votes of the branches on these rows.
    targets
        Class indices, int (rows,), or numbers, float (rows,).
    folds
        Fold of each row, int (rows,).
    soft_labels
        Class probabilities from a teacher model, float32 (rows, n). None without a teacher.
    """

    votes: Votes
    targets: np.ndarray
    folds: np.ndarray
    soft_labels: np.ndarray | None = None

    @property
    def learned(self) -> np.ndarray:
        """The labels to learn from: the teacher's probabilities, or the targets if there is no teacher."""
        return self.targets if self.soft_labels is None else self.soft_labels

    def take(self, rows: np.ndarray) -> OutOfFold:
        """Return only the rows at these positions."""
        soft_labels = None if self.soft_labels is None else self.soft_labels[rows]
        return OutOfFold(self.votes.take(rows), self.targets[rows], self.folds[rows], soft_labels)


def stratified_folds(targets: np.ndarray, count: int, seed: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Deal rows to folds so that each fold gets the same share of each class, or of small and large numbers.

    Rows are dealt to the folds in turn, like cards, one class after the other, so that all folds are equally large.
    Unlike scikit-learn's ``StratifiedKFold``, this also works for classes with fewer rows than there are folds.

    Parameters
    ----------
    targets
        Class index of each row, int (rows,), or its number, float (rows,).
    count
        Number of folds.
    seed
        Seed of the random order of the rows of a class.
    groups
        Group of each row, int (rows,). All rows of a group lie in one fold.

    Returns
    -------
    numpy.ndarray
        Fold of each row, int64 (rows,), from 0 to ``count - 1``.
    """
    if groups is not None:
        _, first, group, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
        if sizes.max() > _LARGE_GROUP:
            return _balanced_groups(_strata(targets), group, count, seed)[group]
        return stratified_folds(targets[first], count, seed)[group]
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(targets))
    by_class = shuffled[np.argsort(targets[shuffled], kind="stable")]
    folds = np.empty(len(targets), dtype=np.int64)
    folds[by_class] = np.arange(len(targets)) % count
    return folds


def _balanced_groups(strata: np.ndarray, group: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the fold of each group of rows, int64 (groups,).

    The largest group is dealt first. Each group goes to the fold that has the fewest rows of the same classes so far.
    """
    shuffled = np.random.default_rng(seed).permutation(int(group.max()) + 1)
    sizes = np.bincount(group)
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    rows = np.argsort(group, kind="stable")
    ends = np.cumsum(sizes)
    totals = np.bincount(strata)
    filled, held = np.zeros((count, len(totals))), np.zeros(count)
    folds = np.empty(len(sizes), dtype=np.int64)
    for number in order:
        present, own = np.unique(strata[rows[ends[number] - sizes[number] : ends[number]]], return_counts=True)
        crowd = filled[:, present] @ (own / totals[present]) + held * (own.sum() / len(strata))
        fold = int(crowd.argmin())
        folds[number] = fold
        filled[fold, present] += own
        held[fold] += own.sum()
    return folds


def _strata(targets: np.ndarray) -> np.ndarray:
    """Return class indices as they are.

    For numbers, return in which tenth of the sorted numbers each is, int (rows,).
    """
    if targets.dtype.kind != "f":
        return targets
    ranks = np.argsort(np.argsort(targets, kind="stable"), kind="stable")
    return np.asarray(ranks * 10 // len(targets))
