"""Deals rows to a training file and a test file: with the same share of every class, and linked rows together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

_BINS = 10
NO_CLASS = -1
"""The class of rows without a label, which are always in the training file."""


def linked_groups(rows: int, keys: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the group of each row, int64 (rows,). Rows with an equal key are in one group, also through other rows.

    Parameters
    ----------
    rows
        Number of rows.
    keys
        Pairs of arrays: indices of rows, int (n,), and the key of each of these rows, uint64 (n,).
    """
    parents = np.arange(rows)

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = int(parents[row])
        return row

    for positions, values in keys:
        order = np.argsort(values, kind="stable")
        equal = np.flatnonzero(values[order][1:] == values[order][:-1])
        for place in equal:
            first, second = root(int(positions[order[place]])), root(int(positions[order[place + 1]]))
            parents[max(first, second)] = min(first, second)
    return np.array([root(row) for row in range(rows)], dtype=np.int64)


def bins_of_numbers(numbers: np.ndarray) -> np.ndarray:
    """Sort the numbers, float (rows,), into ten bins of equal size, and return the bin of each, int64 (rows,)."""
    bounds = np.quantile(numbers, np.arange(1, _BINS) / _BINS)
    return np.searchsorted(bounds, numbers, side="right").astype(np.int64)


def deal(classes: np.ndarray, groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return whether each row is a test row, bool (rows,).

    All rows of a group go into the same file. The group counts for the class of its first row. The number of test rows
    of each class is as near to the share as possible.

    Parameters
    ----------
    classes
        Class of each row, int64 (rows,). Rows with `NO_CLASS` are never test rows.
    groups
        Group of each row, int64 (rows,).
    share
        Share of the rows that are test rows, between 0 and 1.
    seed
        Seed of the random order.
    """
    starts, group_of, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)[1:]
    has_unlabelled = np.bincount(group_of, weights=classes == NO_CLASS, minlength=len(starts)) > 0
    class_of = np.where(has_unlabelled, NO_CLASS, classes[starts])
    in_test = np.zeros(len(starts), dtype=bool)
    random = np.random.default_rng(seed)
    order = np.argsort(class_of, kind="stable")
    bounds = [*np.flatnonzero(np.diff(class_of[order], prepend=-2)), len(order)]
    for begin, end in pairwise(bounds):
        members = order[begin:end]
        if class_of[members[0]] == NO_CLASS:
            continue
        wanted = share * sizes[members].sum()
        taken = 0
        for group in random.permutation(members):
            # A group with too many rows is taken only if the class then is nearer to its share.
            if abs(taken + sizes[group] - wanted) < abs(taken - wanted):
                in_test[group] = True
                taken += sizes[group]
    return in_test[group_of]
