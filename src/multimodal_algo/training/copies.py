"""Rows that are copies of each other in some column: they must lie in one fold, or one tells the other's label."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from multimodal_algo.ingest.features import Features, VectorColumn
from multimodal_algo.schema import FeatureSchema, Modality

# A cell that more rows share is a phrase, not a sign of copies; so are all in a column that mostly repeats itself.
_MOST_COPIES = 10
_LEAST_DISTINCT = 0.5
_NOTHING = 0


def find_copies(features: Features, schema: FeatureSchema) -> np.ndarray:
    """Groups of rows that share a text (but for case and spaces) or an image, directly or through others.

    Looked at are columns whose cells mostly differ. On such data random folds promise more than new rows will keep: one
    drawing of a thing tells the class of the other, one seller's offer that of another's.

    Returns
    -------
    numpy.ndarray
        Group of each row, int (rows,); most rows have one of their own.
    """
    rows = len(features)
    left: list[int] = []
    right: list[int] = []
    for column in schema.of(Modality.TEXT):
        cells = features.table[column]
        _link((hash(" ".join(cell.casefold().split())) if cell else _NOTHING for cell in cells), left, right)
    for column in schema.of(Modality.IMAGE):
        _link(_images(features.vectors[column]), left, right)
    links = csr_matrix((np.ones(len(left), dtype=bool), (left, right)), shape=(rows, rows))
    return np.asarray(connected_components(links, directed=False)[1])


def _images(vectors: VectorColumn) -> Iterable[int]:
    return (_NOTHING if place < 0 else hash(vectors.vectors[place].tobytes()) for place in vectors.index.tolist())


def _link(hashes: Iterable[int], left: list[int], right: list[int]) -> None:
    """Add pairs of rows whose cells have one hash: two that collide cost no more than lying in one fold."""
    cells = np.fromiter(hashes, dtype=np.int64)
    filled = np.flatnonzero(cells != _NOTHING)
    order = filled[np.argsort(cells[filled], kind="stable")]
    _, starts, counts = np.unique(cells[order], return_index=True, return_counts=True)
    if len(counts) < _LEAST_DISTINCT * len(filled):
        return
    for start, count in zip(starts, counts, strict=True):
        if 1 < count <= _MOST_COPIES:
            left += [int(order[start])] * (count - 1)
            right += order[start + 1 : start + count].tolist()
