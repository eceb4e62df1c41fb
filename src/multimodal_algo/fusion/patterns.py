"""Which branches speak of a row. A branch that says nothing has 1 as the last entry of its vector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

Pattern = tuple[int, ...]
"""Branches that say something of a row, ascending."""


def speaking(vectors: np.ndarray) -> np.ndarray:
    """Which branches say something: bool (rows, branches), of vectors float32 (rows, branches, n + 1)."""
    return vectors[:, :, -1] < 0.5


def heard(vectors: np.ndarray, rows: np.ndarray, pattern: Pattern) -> np.ndarray:
    """What the branches of `pattern` say of `rows`, float32 (rows, branches, n)."""
    return vectors[rows][:, list(pattern), :-1]


def patterns_of(vectors: np.ndarray) -> list[Pattern]:
    """Those of the rows, without the empty one."""
    masks = np.unique(speaking(vectors), axis=0)
    return [tuple(int(branch) for branch in np.flatnonzero(mask)) for mask in masks if mask.any()]


def rows_of(pattern: Pattern, vectors: np.ndarray) -> np.ndarray:
    """The rows of exactly this pattern, int (n,)."""
    mask = np.zeros(vectors.shape[1], dtype=bool)
    mask[list(pattern)] = True
    return np.flatnonzero((speaking(vectors) == mask).all(axis=1))


def without_each(columns: Sequence[Sequence[str]]) -> Iterable[Pattern]:
    """The patterns of rows where one branch, and all that need one of its columns, say nothing; and of each alone.

    Parameters
    ----------
    columns
        Of each branch its columns.
    """
    for number, missing in enumerate(columns):
        left = tuple(other for other, needed in enumerate(columns) if not set(needed) & set(missing))
        if left:
            yield left
        yield (number,)
