"""The features of one column for a linear model: its cells become sparse numbers."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from multimodal_algo.core.sparse_rows import SparseRows
from multimodal_algo.ingest.features import VectorColumn
from multimodal_algo.predictors.inputs import CategoryCells

_MISSING = "nan"


class ColumnFeatures(ABC):
    """How the cells of one column become numbers for a linear model.

    scikit-learn learns how, in `fit`. This package computes the numbers itself in `transform`, because scikit-learn's
    checks take milliseconds in every call.
    """

    kind: ClassVar[str]
    """Name of the class in stored models."""
    learned: ClassVar[tuple[str, ...]] = ()
    """Attributes that `fit` learns: arrays, lists of texts, and numbers."""

    @property
    @abstractmethod
    def width(self) -> int:
        """How many numbers one cell becomes."""

    @abstractmethod
    def fit(self, cells: Any) -> None:
        """Learn from the cells of the training rows. Raise ValueError if the cells say nothing about other rows."""

    @abstractmethod
    def transform(self, cells: Any) -> SparseRows:
        """Return the numbers that the cells become, float32 (rows, `width`)."""

    def state(self) -> dict[str, Any]:
        """Return everything that `fit` learned, for `restore`."""
        return {name: getattr(self, name) for name in self.learned}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what another object learned. `state` is from its method `state`."""
        for name in self.learned:
            setattr(self, name, state[name])


class Categories(ColumnFeatures):
    """One-hot codes of the category values that occur at least twice. All other values share one code."""

    kind = "categories"
    learned = ("frequent", "width")
    width = 0
    frequent: Sequence[str] = ()
    """The values that have a code, in the order of the codes."""
    _known: tuple[Any, np.ndarray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": None}

    def fit(self, cells: CategoryCells) -> None:
        """Learn which values occur at least twice, see `ColumnFeatures.fit`."""
        counts: Counter[str] = Counter()
        of_codes = np.bincount(cells.codes + 1, minlength=len(cells.names) + 1).tolist()
        for name, count in zip([_MISSING, *map(str, cells.names)], of_codes, strict=True):
            counts[name] += count
        counts = +counts
        self.frequent = sorted(value for value, count in counts.items() if count > 1)
        self.width = len(self.frequent) + (len(counts) > len(self.frequent))

    def transform(self, cells: CategoryCells) -> SparseRows:
        """Return the one-hot code of each cell's value, see `ColumnFeatures.transform`."""
        return _one_hot(self._codes_of(cells.names)[cells.codes], self.width)

    def _codes_of(self, names: Sequence[Any]) -> np.ndarray:
        """Return the code of each name, followed by the code of a missing value, int32 (names + 1,)."""
        if self._known is None or self._known[0] is not names:
            code_of = {value: code for code, value in enumerate(self.frequent)}
            # Where every value was frequent, a new one has no code.
            codes = [code_of.get(name, len(code_of)) for name in (*map(str, names), _MISSING)]
            self._known = names, np.array(codes, dtype=np.int32)
        return self._known[1]


class Bins(ColumnFeatures):
    """One-hot codes of the quantile bin that a number falls into.

    A missing number has a code if training had missing ones.
    """

    kind = "bins"
    learned = ("_edges", "width")
    width = 0

    def __init__(self, bins: int = 0) -> None:
        self._bins = bins

    def fit(self, cells: np.ndarray) -> None:
        """Learn the quantile bins of the numbers, see `ColumnFeatures.fit`."""
        from sklearn.preprocessing import KBinsDiscretizer  # serving does without it

        learner = KBinsDiscretizer(
            self._bins, encode="onehot", strategy="quantile", quantile_method="averaged_inverted_cdf"
        )
        missing = np.isnan(cells)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a bin of one value is fine
            learner.fit(cells[~missing].astype(np.float64).reshape(-1, 1))
        self._edges = learner.bin_edges_[0][1:-1]
        self.width = len(self._edges) + 1 + bool(missing.any())

    def transform(self, cells: np.ndarray) -> SparseRows:
        """Return the one-hot code of each number's bin, see `ColumnFeatures.transform`."""
        values = cells.astype(np.float64)
        codes = np.searchsorted(self._edges, values, side="right")
        return _one_hot(np.where(np.isnan(values), len(self._edges) + 1, codes), self.width)


class Absent(ColumnFeatures):
    """A column of numbers that is 1 for each row without a vector (an empty cell), and otherwise 0."""

    kind = "absent"
    width = 1

    def fit(self, cells: VectorColumn) -> None:
        """Do nothing: there is nothing to learn here, see `ColumnFeatures.fit`."""

    def transform(self, cells: VectorColumn) -> SparseRows:
        """Return 1 for each row without a vector, see `ColumnFeatures.transform`."""
        return _one_hot(np.where(cells.present, 1, 0), 1)


def _one_hot(codes: np.ndarray, width: int) -> SparseRows:
    """Return codes as one-hot rows, float32 (rows, width). A row whose code is `width` or more is all 0."""
    valid = codes < width
    columns = codes[valid].astype(np.int32)
    return SparseRows(np.ones(len(columns), np.float32), columns, np.concatenate([[0], np.cumsum(valid)]), width)
