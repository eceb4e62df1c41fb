"""How the cells of one column become the sparse columns of a linear model."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections import Counter

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.preprocessing import KBinsDiscretizer


class ColumnFeatures(ABC):
    """The features of one column.

    scikit-learn learns them. It does not apply them, because its checks take milliseconds in every call.
    """

    @property
    @abstractmethod
    def width(self) -> int:
        """How many numbers a cell becomes."""

    @abstractmethod
    def fit(self, cells: pd.Series) -> None:
        """Learn from the cells. Raise ValueError where they have no information about other rows."""

    @abstractmethod
    def transform(self, cells: pd.Series) -> sparse.csr_matrix:
        """Return the numbers of the cells, float32 (rows, numbers)."""


class Categories(ColumnFeatures):
    """One-hot codes of the values that occur twice. All other values share one code."""

    width = 0

    def fit(self, cells: pd.Series) -> None:
        """See `ColumnFeatures.fit`."""
        counts = Counter(cells.astype(str))
        frequent = sorted(value for value, count in counts.items() if count > 1)
        self._codes = {value: code for code, value in enumerate(frequent)}
        self.width = len(frequent) + (len(counts) > len(frequent))

    def transform(self, cells: pd.Series) -> sparse.csr_matrix:
        """See `ColumnFeatures.transform`."""
        # Where every value was frequent, a new one has no code.
        codes = [self._codes.get(cell, len(self._codes)) for cell in cells.astype(str)]
        return _one_hot(np.array(codes, dtype=np.int32), self.width)


class Bins(ColumnFeatures):
    """One-hot codes of the quantile bins of a number, and of a missing number if there were any."""

    width = 0

    def __init__(self, bins: int) -> None:
        self._bins = bins

    def fit(self, cells: pd.Series) -> None:
        """See `ColumnFeatures.fit`."""
        learner = KBinsDiscretizer(
            self._bins, encode="onehot", strategy="quantile", quantile_method="averaged_inverted_cdf"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a bin of one value is fine
            learner.fit(cells.dropna().to_numpy(dtype=np.float64).reshape(-1, 1))
        self._edges = learner.bin_edges_[0][1:-1]
        self.width = len(self._edges) + 1 + bool(cells.isna().any())

    def transform(self, cells: pd.Series) -> sparse.csr_matrix:
        """See `ColumnFeatures.transform`."""
        values = cells.to_numpy(dtype=np.float64)
        codes = np.searchsorted(self._edges, values, side="right")
        return _one_hot(np.where(np.isnan(values), len(self._edges) + 1, codes), self.width)


class Absent(ColumnFeatures):
    """The number 1 where there is no vector."""

    width = 1

    def fit(self, cells: pd.Series) -> None:
        """See `ColumnFeatures.fit`. There is nothing to learn."""

    def transform(self, cells: pd.Series) -> sparse.csr_matrix:
        """See `ColumnFeatures.transform`."""
        return _one_hot(np.where(cells.isna(), 0, 1), 1)


def _one_hot(codes: np.ndarray, width: int) -> sparse.csr_matrix:
    """Return one-hot codes, float32 (rows, width). The row of a code that is `width` or more is all 0."""
    valid = codes < width
    indptr = np.concatenate([[0], np.cumsum(valid)])
    indices = codes[valid].astype(np.int32)
    return sparse.csr_matrix((np.ones(len(indices), dtype=np.float32), indices, indptr), (len(codes), width))
