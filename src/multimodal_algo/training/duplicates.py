"""Rows that are copies of each other in some column: they must lie in one fold, or one tells the other's label."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

# A cell that more rows share is a phrase, not a sign of copies; so are all in a column that mostly repeats itself.
_MOST_COPIES = 10
_LEAST_DISTINCT = 0.5
_NOTHING = 0


def find_duplicates(keys: np.ndarray) -> np.ndarray:
    """Groups of rows that share a text (but for case and spaces) or an image, directly or through others.

    Looked at are columns whose cells mostly differ. On such data random folds promise more than new rows will keep: one
    drawing of a thing tells the class of the other, one seller's offer that of another's.

    Parameters
    ----------
    keys
        Of each row, see `row_keys`.

    Returns
    -------
    numpy.ndarray
        Group of each row, int (rows,); most rows have one of their own.
    """
    rows = len(keys)
    left: list[int] = []
    right: list[int] = []
    for column in keys.T[1:]:
        if _tells_apart(column):
            _link(column, left, right)
    links = csr_matrix((np.ones(len(left), dtype=bool), (left, right)), shape=(rows, rows))
    return np.asarray(connected_components(links, directed=False)[1])


def telling_keys(keys: np.ndarray) -> np.ndarray:
    """The keys of rows, and those by which `find_duplicates` may link them to others: uint32, sorted.

    Parameters
    ----------
    keys
        Of each row, see `row_keys`.
    """
    found = [keys[:, 0]]
    for column in keys.T[1:]:
        if _tells_apart(column):
            cells, counts = np.unique(column, return_counts=True)
            found.append(cells[(cells != _NOTHING) & (counts <= _MOST_COPIES)])
    return np.unique(np.concatenate(found))


def _tells_apart(column: np.ndarray) -> bool:
    filled = column[column != _NOTHING]
    return len(np.unique(filled)) >= _LEAST_DISTINCT * len(filled)


def _link(cells: np.ndarray, left: list[int], right: list[int]) -> None:
    """Add pairs of rows whose cells have one key."""
    filled = np.flatnonzero(cells != _NOTHING)
    order = filled[np.argsort(cells[filled], kind="stable")]
    _, starts, counts = np.unique(cells[order], return_index=True, return_counts=True)
    for start, count in zip(starts, counts, strict=True):
        if 1 < count <= _MOST_COPIES:
            left += [int(order[start])] * (count - 1)
            right += order[start + 1 : start + count].tolist()
