"""Finds rows whose content is the same as, or nearly the same as, that of a row with another label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from multimodal_algo.core.labels import Target
from multimodal_algo.core.schema import Modality, modality_of
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.keys import vector_columns

# Labels of a regression that differ by less than this share of their standard deviation count as equal.
_ALIKE = 0.1
# A shorter text may be a name that several things have.
_LONG = 50
# From this cosine on, vectors belong to nearly the same text or image. And the greatest number of compared pairs.
_NEAR, _MOST_PAIRS = 0.985, 25_000_000


@dataclass(frozen=True)
class Conflict:
    """The reason why the label of a row is doubtful: another row has the same content and a different label.

    Parameters
    ----------
    other
        Index of the other row.
    column
        Column whose cells are the same in both rows. Empty if the whole rows are the same.
    is_near
        Whether the cells are nearly the same, but not equal.
    """

    other: int
    column: str
    is_near: bool = False


def find_conflicts(dataset: Dataset, target: Target, order: np.ndarray) -> Mapping[int, Conflict]:
    """Find rows that have the same content, image or long text as a row with another label.

    Case and spaces of texts do not count. Cells that are nearly the same are found from their vectors. With more than
    5,000 rows, only the first rows of `order` are compared with all rows for this.

    Parameters
    ----------
    dataset
        The training rows.
    target
        The labels of the rows.
    order
        Indices of the rows, the row with the most doubtful label first, int (rows,).

    Returns
    -------
    Mapping[int, Conflict]
        A conflict for each such row, by the index of the row.
    """
    least = _ALIKE * float(target.values.std()) if target.task.is_regression else 0.0
    conflicts: dict[int, Conflict] = {}
    for column, keys in _keys(dataset).items():
        for rows in _rows_by_key(keys):
            labels = target.values[rows]
            for row, label in zip(rows.tolist(), labels, strict=True):
                different = np.flatnonzero(np.abs(labels - label) > least)
                if len(different):
                    conflicts.setdefault(row, Conflict(int(rows[different[0]]), column))
    asked = order[: max(1, _MOST_PAIRS // max(len(order), 1))]
    for column in vector_columns(dataset.schema):
        for row, other in _near_rows(dataset, column, target.values, asked, least):
            conflicts.setdefault(row, Conflict(other, column, is_near=True))
    return conflicts


def _keys(dataset: Dataset) -> Mapping[str, np.ndarray]:
    """Return the keys of the cells of each image and text column, uint32 (rows,), by name of the column.

    The entry with an empty name has the keys of whole rows. The key 0 means that a cell is not compared.
    """
    keys = {"": dataset.keys[:, 0]}
    for number, column in enumerate(vector_columns(dataset.schema), start=1):
        keys[column] = np.where(_is_distinctive(dataset, column), dataset.keys[:, number], 0)
    return keys


def _is_distinctive(dataset: Dataset, column: str) -> np.ndarray:
    """Return whether each cell of a column is filled and is not a short text, bool (rows,)."""
    if modality_of(column) is Modality.IMAGE:
        return dataset.features.filled(column)
    cells = dataset.features.cells[column]
    return np.fromiter((len(text) >= _LONG for text in cells), bool, len(cells))


def _rows_by_key(keys: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the indices of the rows of each key that at least two rows have. The key 0 is left out."""
    order = np.argsort(keys, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
        if len(rows) > 1 and keys[rows[0]]:
            yield rows


def _near_rows(
    dataset: Dataset, column: str, labels: np.ndarray, asked: np.ndarray, least: float
) -> Iterator[tuple[int, int]]:
    """Yield pairs of rows that are nearly the same in a column and have different labels.

    For each row of `asked`, the pair has the nearest row with another label, if this row is near enough. Labels that
    differ by at most `least` count as equal.
    """
    vectors = dataset.features.vectors[column]
    usable = np.flatnonzero(_is_distinctive(dataset, column) & vectors.present)
    asked = asked[np.isin(asked, usable)]
    if not len(asked):
        return
    candidates = _unit(vectors.vectors[vectors.index[usable]])
    for part in np.array_split(asked, max(1, len(asked) * len(usable) // 4_000_000)):
        cosines = _unit(vectors.vectors[vectors.index[part]]) @ candidates.T
        cosines[np.abs(labels[part][:, None] - labels[usable][None]) <= least] = -1.0
        for row, best, cosine in zip(part, cosines.argmax(axis=1), cosines.max(axis=1), strict=True):
            if cosine >= _NEAR:
                yield int(row), int(usable[best])


def _unit(vectors: np.ndarray) -> np.ndarray:
    floats = vectors.astype(np.float32)
    return np.asarray(floats / np.maximum(np.linalg.norm(floats, axis=1, keepdims=True), 1e-9))
