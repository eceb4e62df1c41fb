"""Duplicate rows: rows with the same content. They must be in the same fold, or one row gives away the other's label.

The content is the whole row, an image or a long text. A short text that several rows share is usually a name (an
author, a brand), and new rows will share such names too. So it only counts if it seems to name a single thing: few rows
have the same text, and these rows have the same label.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from multimodal_algo.core.schema import Modality, modality_of
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.keys import vector_columns

WHOLE_ROWS = "whole rows"

# A value that more rows share, and a greater share of them, is a phrase or a placeholder.
_MOST_DUPLICATES, _MOST_SHARE = 10, 0.01
# Columns that repeat themselves more than this link nothing: the least share of distinct values.
_LEAST_DISTINCT, _LEAST_DISTINCT_NAMES = 0.3, 0.5
# Bytes of a long text in UTF-8, in a column whose texts are mostly long, and in any other column.
_LONG_BYTES, _SURELY_LONG_BYTES = 50, 120
# Repeated short texts name one thing each where most of them occur this often, and their rows have one label.
_ROWS_OF_A_THING, _MOST_THINGS, _LEAST_AGREEMENT = 3, 0.9, 0.95
# A table with mostly equal rows and fewer different rows than this is a table of few categories.
_LEAST_DIFFERENT = 50
_NOTHING = 0


@dataclass(frozen=True)
class RowGroups:
    """The groups of duplicate rows, which must each be in one fold.

    Parameters
    ----------
    groups
        Group of each row, int (rows,). Most rows have a group of their own.
    linked
        Number of rows that are grouped because of a column, by its name. `WHOLE_ROWS` stands for equal rows.
    shared
        Number of rows that share a text with another row but are not grouped for that, by the name of the column.
    keys
        Keys (hashes) of whole rows, and of cells that group rows, uint32, sorted. A row of a later job that has one of
        these keys is a duplicate.
    """

    groups: np.ndarray
    linked: dict[str, int]
    shared: dict[str, int]
    keys: np.ndarray


def find_groups(dataset: Dataset, targets: np.ndarray) -> RowGroups:
    """Return groups of rows that share their content, or a value of the columns that the user names in ``group_by``.

    Rows are also in one group if they are connected by other rows. Case and spaces of a text do not matter.

    Parameters
    ----------
    dataset
        The rows.
    targets
        Class indices, int (rows,), or numbers, float (rows,).
    """
    left: list[np.ndarray] = []
    right: list[np.ndarray] = []
    linked, keys = {}, [dataset.keys[:, 0]]
    for name, cells in _linking_cells(dataset, targets):
        first, other = _pairs(cells)
        if len(other):
            left.append(first)
            right.append(other)
            linked[name] = len(np.union1d(first, other))
        keys.append(cells[cells != _NOTHING])
    rows = len(dataset)
    pairs = (np.concatenate([*left, _NO_ROWS]), np.concatenate([*right, _NO_ROWS]))
    links = csr_matrix((np.ones(len(pairs[0]), dtype=bool), pairs), shape=(rows, rows))
    groups = np.asarray(connected_components(links, directed=False)[1])
    return RowGroups(groups, linked, _shared(dataset, linked), np.unique(np.concatenate(keys)))


_NO_ROWS = np.empty(0, dtype=np.int64)


def _linking_cells(dataset: Dataset, targets: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the keys (hashes) of each column's cells, uint32 (rows,). Rows with the same key belong together.

    The key of a cell that groups no rows is 0.
    """
    whole = dataset.keys[:, 0]
    content = _content(whole)
    yield WHOLE_ROWS, content if content.any() or not _were_repeated(whole, targets) else whole
    columns = vector_columns(dataset.schema)
    for column, keys in zip(columns, dataset.keys.T[1:], strict=False):
        if column in dataset.group_columns:
            continue
        if modality_of(column) is Modality.IMAGE:
            yield column, _content(keys)
        elif _names_things(keys, targets):
            yield column, keys
        else:
            yield column, _content(np.where(_are_long(dataset, column), keys, _NOTHING))
    for column, keys in zip(dataset.group_columns, dataset.keys.T[1 + len(columns) :], strict=True):
        yield column, keys


def _content(keys: np.ndarray) -> np.ndarray:
    """Return a column's keys (hashes of its cells), with 0 for values that very many rows share.

    Such values are phrases or placeholders. Return only 0 if the column has few different values.
    """
    filled = keys[keys != _NOTHING]
    values, counts = np.unique(filled, return_counts=True)
    if len(values) < _LEAST_DISTINCT * len(filled):
        return np.zeros_like(keys)
    phrases = values[counts > max(_MOST_DUPLICATES, _MOST_SHARE * len(keys))]
    return np.where(np.isin(keys, phrases), np.uint32(_NOTHING), keys)


def _were_repeated(keys: np.ndarray, targets: np.ndarray) -> bool:
    """Return whether most rows have duplicates because the file repeats them, and not because their values are few.

    In a table with few categories, rows are equal by chance. Such a table has few different rows, some rows that occur
    very often, or equal rows with different labels.
    """
    _, counts = np.unique(keys[keys != _NOTHING], return_counts=True)
    is_repeated = len(counts) >= _LEAST_DIFFERENT and counts.max() <= _MOST_DUPLICATES
    return bool(is_repeated) and _agree(keys, targets)


def _are_long(dataset: Dataset, column: str) -> np.ndarray:
    """Return which cells have a text that is too long to be a name, bool (rows,)."""
    texts = dataset.features.cells[column]
    sizes = np.fromiter((len(text.encode("utf-8", "surrogatepass")) for text in texts), np.int64, len(texts))
    typical = np.median(sizes[sizes > 0]) if sizes.any() else 0
    return np.asarray(sizes >= (_LONG_BYTES if typical >= _LONG_BYTES else _SURELY_LONG_BYTES))


def _names_things(keys: np.ndarray, targets: np.ndarray) -> bool:
    """Return whether each repeated text of a column names a single thing: few rows share it, with the same label."""
    rows = np.flatnonzero(keys != _NOTHING)
    values, value, counts = np.unique(keys[rows], return_inverse=True, return_counts=True)
    if len(values) < _LEAST_DISTINCT_NAMES * len(rows) or counts.max(initial=0) < 2:
        return False
    repeated = counts[value] > 1
    if (counts[value][repeated] <= _ROWS_OF_A_THING).mean() < _MOST_THINGS:
        return False
    return _agree(keys, targets)


def _agree(keys: np.ndarray, targets: np.ndarray) -> bool:
    """Return whether nearly all rows with the same key have the same label."""
    first, other = _pairs(keys)
    if targets.dtype.kind == "f":
        return bool(np.mean((targets[first] - targets[other]) ** 2) <= (1 - _LEAST_AGREEMENT) * 2 * targets.var())
    return bool(np.mean(targets[first] == targets[other]) >= _LEAST_AGREEMENT)


def _pairs(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of rows with the same key, each int (pairs,): the first row that has the key, and each other one."""
    filled = np.flatnonzero(cells != _NOTHING)
    _, first, value = np.unique(cells[filled], return_index=True, return_inverse=True)
    firsts = filled[first][value]
    is_other = firsts != filled
    return firsts[is_other], filled[is_other]


def _shared(dataset: Dataset, linked: dict[str, int]) -> dict[str, int]:
    shared = {}
    for column, keys in zip(vector_columns(dataset.schema), dataset.keys.T[1:], strict=False):
        if modality_of(column) is Modality.TEXT:
            count = len(np.union1d(*_pairs(keys)))
            if count and column not in linked:
                shared[column] = count
    return shared
