"""Sparse rows as plain numpy arrays, for requests with few rows.

scipy's sparse matrices check their arrays in each operation. For a few rows, the checks take longer than the operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class SparseRows:
    """A matrix with few numbers that are not 0, in the layout of scipy's CSR matrices.

    Parameters
    ----------
    values
        The numbers, row by row, float32 (n,).
    columns
        Column of each number, int (n,).
    ends
        Position in `values` of the first number of each row, and the end of the last row, int (rows + 1,).
    width
        Number of columns.
    """

    values: np.ndarray
    columns: np.ndarray
    ends: np.ndarray
    width: int

    @classmethod
    def of(cls, matrix: sparse.csr_matrix) -> SparseRows:
        """Return the rows of a scipy matrix. Both share the same arrays."""
        return cls(matrix.data, matrix.indices, matrix.indptr, matrix.shape[1])

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.ends) - 1

    def matrix(self) -> sparse.csr_matrix:
        """Return the rows as a scipy matrix, float32 (rows, width). Both share the same arrays."""
        return sparse.csr_matrix((self.values, self.columns, self.ends), (self.rows, self.width))

    def times(self, factor: float) -> SparseRows:
        """Return the rows with every number multiplied by `factor`."""
        return SparseRows(self.values * np.float32(factor), self.columns, self.ends, self.width)

    def take(self, rows: np.ndarray) -> SparseRows:
        """Return the rows at the positions `rows`, int (n,)."""
        counts = np.diff(self.ends)[rows]
        ends = _ends(counts)
        positions = np.arange(ends[-1]) + np.repeat(self.ends[rows] - ends[:-1], counts)
        return SparseRows(self.values[positions], self.columns[positions], ends, self.width)


def side_by_side(blocks: Sequence[SparseRows], rows: int) -> SparseRows:
    """Return one block with the columns of all `blocks`, which have the same number of `rows`."""
    counts = [np.diff(block.ends) for block in blocks]
    ends = _ends(np.sum([np.zeros(rows, dtype=np.int64), *counts], axis=0))
    values = np.empty(ends[-1], dtype=np.float32)
    columns = np.empty(ends[-1], dtype=np.int32)
    start, width = ends[:-1].copy(), 0
    for block, count in zip(blocks, counts, strict=True):
        positions = np.arange(len(block.values)) + np.repeat(start - block.ends[:-1], count)
        values[positions] = block.values
        columns[positions] = block.columns + np.int32(width)
        start += count
        width += block.width
    return SparseRows(values, columns, ends, width)


def _ends(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
