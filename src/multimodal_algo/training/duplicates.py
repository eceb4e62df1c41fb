"""Duplicate rows: they share a text or an image. They must lie in one fold, or one gives away the other's label."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

# A cell that more rows share is a phrase, not a sign of duplicates. The same holds for a column that mostly repeats
# itself.
_MOST_DUPLICATES = 10
_LEAST_DISTINCT = 0.5
_NOTHING = 0


def find_duplicates(keys: np.ndarray) -> np.ndarray:
    """Group the rows that share a text or an image, directly or through other rows.

    Case and spaces of a text do not count. Only columns whose cells mostly differ are compared. With random folds, the
    scores on such data would be better than those on new rows: one photo of a thing gives away the class of another.

    Parameters
    ----------
    keys
        Keys of the rows, see `row_keys`.

    Returns
    -------
    numpy.ndarray
        Group of each row, int (rows,). Most rows have a group of their own.
    """
    rows = len(keys)
    left: list[int] = []
    right: list[int] = []
    for column in keys.T[1:]:
        if _mostly_differs(column):
            _link(column, left, right)
    links = csr_matrix((np.ones(len(left), dtype=bool), (left, right)), shape=(rows, rows))
    return np.asarray(connected_components(links, directed=False)[1])


def linking_keys(keys: np.ndarray) -> np.ndarray:
    """Return the keys of whole rows, and those by which `find_duplicates` links rows: uint32, sorted.

    Parameters
    ----------
    keys
        Keys of the rows, see `row_keys`.
    """
    linking = [keys[:, 0]]
    for column in keys.T[1:]:
        if _mostly_differs(column):
            cells, counts = np.unique(column, return_counts=True)
            linking.append(cells[(cells != _NOTHING) & (counts <= _MOST_DUPLICATES)])
    return np.unique(np.concatenate(linking))


def _mostly_differs(column: np.ndarray) -> bool:
    filled = column[column != _NOTHING]
    return len(np.unique(filled)) >= _LEAST_DISTINCT * len(filled)


def _link(cells: np.ndarray, left: list[int], right: list[int]) -> None:
    """Add pairs of rows whose cells have one key."""
    filled = np.flatnonzero(cells != _NOTHING)
    order = filled[np.argsort(cells[filled], kind="stable")]
    _, starts, counts = np.unique(cells[order], return_index=True, return_counts=True)
    for start, count in zip(starts, counts, strict=True):
        if 1 < count <= _MOST_DUPLICATES:
            left += [int(order[start])] * (count - 1)
            right += order[start + 1 : start + count].tolist()
