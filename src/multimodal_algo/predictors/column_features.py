"""How the cells of one column become the sparse columns of a linear model."""

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
    """The features of one column.

    scikit-learn learns them. It does not apply them, because its checks take milliseconds in every call.
    """

    kind: ClassVar[str]
    """Name of the class in stored models."""
    learned: ClassVar[tuple[str, ...]] = ()
    """Attributes that `fit` learns: arrays, lists of texts, and numbers."""

    @property
    @abstractmethod
    def width(self) -> int:
        """How many numbers a cell becomes."""

    @abstractmethod
    def fit(self, cells: Any) -> None:
        """Learn from the cells. Raise ValueError where they have no information about other rows."""

    @abstractmethod
    def transform(self, cells: Any) -> SparseRows:
        """Return the numbers of the cells, float32 (rows, numbers)."""

    def state(self) -> dict[str, Any]:
        """Return what `fit` learned, for `restore`."""
        return {name: getattr(self, name) for name in self.learned}

    def restore(self, state: dict[str, Any]) -> None:
        """Take what another object learned."""
        for name in self.learned:
            setattr(self, name, state[name])


class Categories(ColumnFeatures):
    """One-hot codes of the values that occur twice. All other values share one code."""

    kind = "categories"
    learned = ("frequent", "width")
    width = 0
    frequent: Sequence[str] = ()
    """The values that have a code, in the order of the codes."""
    _known: tuple[Any, np.ndarray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": None}

    def fit(self, cells: CategoryCells) -> None:
        """See `ColumnFeatures.fit`."""
        counts: Counter[str] = Counter()
        of_codes = np.bincount(cells.codes + 1, minlength=len(cells.names) + 1).tolist()
        for name, count in zip([_MISSING, *map(str, cells.names)], of_codes, strict=True):
            counts[name] += count
        counts = +counts
        self.frequent = sorted(value for value, count in counts.items() if count > 1)
        self.width = len(self.frequent) + (len(counts) > len(self.frequent))

    def transform(self, cells: CategoryCells) -> SparseRows:
        """See `ColumnFeatures.transform`."""
        return _one_hot(self._codes_of(cells.names)[cells.codes], self.width)

    def _codes_of(self, names: Sequence[Any]) -> np.ndarray:
        """Return the code of each name, and last the code of a missing value, int32 (names + 1,)."""
        if self._known is None or self._known[0] is not names:
            code_of = {value: code for code, value in enumerate(self.frequent)}
            # Where every value was frequent, a new one has no code.
            codes = [code_of.get(name, len(code_of)) for name in (*map(str, names), _MISSING)]
            self._known = names, np.array(codes, dtype=np.int32)
        return self._known[1]


class Bins(ColumnFeatures):
    """One-hot codes of the quantile bins of a number, and of a missing number if there were any."""

    kind = "bins"
    learned = ("_edges", "width")
    width = 0

    def __init__(self, bins: int = 0) -> None:
        self._bins = bins

    def fit(self, cells: np.ndarray) -> None:
        """See `ColumnFeatures.fit`."""
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
        """See `ColumnFeatures.transform`."""
        values = cells.astype(np.float64)
        codes = np.searchsorted(self._edges, values, side="right")
        return _one_hot(np.where(np.isnan(values), len(self._edges) + 1, codes), self.width)


class Absent(ColumnFeatures):
    """The number 1 where there is no vector."""

    kind = "absent"
    width = 1

    def fit(self, cells: VectorColumn) -> None:
        """See `ColumnFeatures.fit`. There is nothing to learn."""

    def transform(self, cells: VectorColumn) -> SparseRows:
        """See `ColumnFeatures.transform`."""
        return _one_hot(np.where(cells.present, 1, 0), 1)


def _one_hot(codes: np.ndarray, width: int) -> SparseRows:
    """Return one-hot codes, float32 (rows, width). The row of a code that is `width` or more is all 0."""
    valid = codes < width
    columns = codes[valid].astype(np.int32)
    return SparseRows(np.ones(len(columns), np.float32), columns, np.concatenate([[0], np.cumsum(valid)]), width)
