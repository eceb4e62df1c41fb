"""The features of a linear model: columns of every kind become numbers, and each column gets about the same weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.core.linear import Blocks
from multimodal_algo.core.sparse_rows import side_by_side
from multimodal_algo.ingest.features import VectorColumn
from multimodal_algo.predictors.column_features import Absent, Bins, Categories, ColumnFeatures
from multimodal_algo.predictors.inputs import VECTOR, CategoryCells, Column, Inputs, Table
from multimodal_algo.predictors.tokens import Tokens
from multimodal_algo.predictors.word_features import WordFeatures, seconds_of_words

if TYPE_CHECKING:
    import pandas as pd

# Bytes in memory during a fit for a byte of a cell. A letter begins two or three pieces, and each of them has a column
# and a value in several tables.
_BYTES_OF_VECTOR, _BYTES_OF_WORDS, _BYTES_OF_PIECES = 4, 10, 100
_ROWS_OF_SAMPLE = 1000
WORDS = ".words"
_ROWS_AT_A_TIME = 4096
_LETTERS_OF_WORD = 5
_BINS = 16
_BIN_WEIGHT = 0.5
_TEXT_WEIGHT = 1.5


class LinearFeatures:
    """Turns the columns of a table into numbers for a linear model.

    A text becomes the TF-IDF of its words, see `tokens_of`. A category becomes the one-hot code of its value, if the
    value is frequent. A number becomes the one-hot code of its quantile bin. A vector becomes its standardised entries.
    In each row, the numbers of one column have a length of about 1, so no column outweighs the others. One more number
    marks each cell without a vector.

    Parameters
    ----------
    max_words
        Largest number of words of all text columns together.
    with_pieces
        Whether a text also becomes the TF-IDF of pieces of words, 2 to 5 characters long. `max_words` limits their
        number too. Pieces show what similar words have in common. They take three times as long.
    """

    def __init__(self, max_words: int, with_pieces: bool = False) -> None:
        self._max_words = max_words
        self._tokens = list(Tokens) if with_pieces else [Tokens.WORDS]

    def seconds(self, table: Table) -> float:
        """Estimate how many seconds `fit_transform` needs for the texts.

        Texts take most of its time, and their preparation cannot be cut short.
        """
        texts = Inputs.of(table).texts()
        return sum(seconds_of_words(cells, kind) for cells in texts for kind in self._tokens)

    def numbers(self, table: Table) -> int:
        """Estimate how many numbers that are not 0 `transform` returns for the table.

        A number of a vector counts a tenth, because computing with a dense array is that much faster.
        """
        inputs = Inputs.of(table)
        words = sum(len(str(cell)) // _LETTERS_OF_WORD + 1 for cells in inputs.texts() for cell in cells)
        vectors = [column for column in inputs.columns.values() if isinstance(column, VectorColumn)]
        dense = sum(int(column.present.sum()) * column.vectors.shape[1] for column in vectors)
        return words * len(self._tokens) + dense // 10 + len(inputs) * len(inputs.columns)

    def bytes(self, table: pd.DataFrame) -> int:
        """Estimate the bytes of memory that `fit_transform` and a fit to its result need.

        The model's weights are not counted.
        """
        cells = table.select_dtypes(include="object")
        sizes = cells.head(_ROWS_OF_SAMPLE).memory_usage(deep=True, index=False)
        of_text = _BYTES_OF_PIECES if Tokens.PIECES in self._tokens else _BYTES_OF_WORDS
        stored = sum(size * (_BYTES_OF_VECTOR if str(c).endswith(VECTOR) else of_text) for c, size in sizes.items())
        return int(stored * max(1.0, len(table) / _ROWS_OF_SAMPLE))

    def fit_transform(self, table: Table) -> Blocks:
        """Learn from the columns of a table, and return the numbers that its rows become."""
        inputs = Inputs.of(table)
        kinds = {name: _kind(column) for name, column in inputs.columns.items()}
        self._vectors = {
            name: _VectorScale.of(inputs.vectors(name)) for name, kind in kinds.items() if kind == "vector"
        }
        # The words of a category follow it, see `CatModel`.
        self._plain = {c for c, kind in kinds.items() if kind in ("number", "category") or c.endswith(WORDS)}
        share = self._max_words // max(1, sum(kind == "text" for kind in kinds.values()))
        self._parts: list[tuple[str, ColumnFeatures, float]] = []
        for name, kind in kinds.items():
            cells = inputs.columns[name]
            if kind == "text":
                for tokens in self._tokens:
                    self._learn(name, WordFeatures(share, tokens), cells, _TEXT_WEIGHT)
            if kind == "vector":
                self._learn(name, Absent(), cells)
            if kind == "category":
                self._learn(name, Categories(), cells)
            if kind == "number":
                numbers = inputs.numbers(name)
                bins = min(_BINS, len(np.unique(numbers[~np.isnan(numbers)])))
                if bins > 1:
                    self._learn(name, Bins(bins), cells, _BIN_WEIGHT)
        return self.transform(inputs)

    def transform(self, table: Table) -> Blocks:
        """Return the numbers that the rows of `table` become."""
        inputs = Inputs.of(table)
        blocks = [part.transform(inputs.columns[name]).times(weight) for name, part, weight in self._parts]
        words = side_by_side(blocks, len(inputs)).matrix()
        dense = np.zeros((len(inputs), sum(scale.width for scale in self._vectors.values())), dtype=np.float32)
        start = 0
        for name, scale in self._vectors.items():
            scale.write(inputs.vectors(name), dense[:, start : start + scale.width])
            start += scale.width
        return Blocks(words, dense)

    def state(self) -> dict[str, Any]:
        """Return everything that `fit_transform` learned, for `restored`."""
        parts = [
            {"column": column, "kind": part.kind, "weight": weight, "learned": part.state()}
            for column, part, weight in self._parts
        ]
        return {"parts": parts, "vectors": {column: scale.state() for column, scale in self._vectors.items()}}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> LinearFeatures:
        """Return features that transform tables like those whose method `state` returned this `state`."""
        features = cls(0)
        features._vectors = {column: _VectorScale(**scale) for column, scale in state["vectors"].items()}
        features._parts = []
        for entry in state["parts"]:
            part = _KINDS[entry["kind"]]()
            part.restore(entry["learned"])
            features._parts.append((entry["column"], part, entry["weight"]))
        return features

    @property
    def can_weigh(self) -> bool:
        """Whether there are numbers or categories, and also texts or vectors.

        Only then can one kind get a smaller weight.
        """
        rich = {column for column, _, _ in self._parts if column not in self._plain} | self._vectors.keys()
        return bool(rich) and any(column in self._plain for column, _, _ in self._parts)

    def factors(self, plain: float) -> np.ndarray:
        """Return a factor for each number of a row, float32.

        It is `plain` for numbers and categories, and 1 for texts and vectors.
        """
        dense = np.ones(sum(scale.width for scale in self._vectors.values()), dtype=np.float32)
        parts = [(part.width, plain if column in self._plain else 1.0) for column, part, _ in self._parts]
        return np.concatenate([*(np.full(width, factor, dtype=np.float32) for width, factor in parts), dense])

    def _learn(self, name: str, part: ColumnFeatures, cells: Column, weight: float = 1.0) -> None:
        try:
            part.fit(cells)
        except ValueError:
            return  # No word occurs twice, so the column has no information about other rows.
        self._parts.append((name, part, weight))


_KINDS: Mapping[str, type[ColumnFeatures]] = {part.kind: part for part in (Absent, Bins, Categories, WordFeatures)}


@dataclass(frozen=True)
class _VectorScale:
    """How vectors of one column are shifted and scaled, so that their average length is 1.

    Parameters
    ----------
    mean, scale
        The mean is subtracted from each vector, and the result is multiplied by the scale, float32 (width,).
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, cells: VectorColumn) -> _VectorScale:
        """Return the mean and the scale of a column's vectors. Rows without a vector do not count."""
        present = cells.index[cells.present]
        width = cells.vectors.shape[1] if len(present) else 0
        total, squares = np.zeros(width), np.zeros(width)
        for start in range(0, len(present), _ROWS_AT_A_TIME):
            vectors = _numbers(cells, present[start : start + _ROWS_AT_A_TIME]).astype(np.float64)
            total += vectors.sum(axis=0)
            squares += (vectors**2).sum(axis=0)
        count = max(1, len(present))
        deviation = np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0.0))
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-6)
        return cls((total / count).astype(np.float32), (scale / np.sqrt(max(1, width))).astype(np.float32))

    @property
    def width(self) -> int:
        """The number of entries of a vector."""
        return len(self.mean)

    def state(self) -> dict[str, np.ndarray]:
        """Return the mean and the scale by name."""
        return {"mean": self.mean, "scale": self.scale}

    def write(self, cells: VectorColumn, out: np.ndarray) -> None:
        """Write the scaled vectors into their rows of `out`, float32 (rows, width).

        Rows without a vector are left as they are.
        """
        present = np.flatnonzero(cells.present)
        for start in range(0, len(present) if self.width else 0, _ROWS_AT_A_TIME):
            rows = present[start : start + _ROWS_AT_A_TIME]
            out[rows] = (_numbers(cells, cells.index[rows]) - self.mean) * self.scale


def _numbers(cells: VectorColumn, positions: np.ndarray) -> np.ndarray:
    return cells.vectors[positions].astype(np.float32)


def _kind(column: Column) -> str:
    if isinstance(column, VectorColumn):
        return "vector"
    if isinstance(column, CategoryCells):
        return "category"
    return "text" if column.dtype == object else "number"
