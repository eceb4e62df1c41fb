"""The features of a linear model: columns of every kind as numbers, with about the same weight for each column."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from multimodal_algo.core.linear import Blocks
from multimodal_algo.ingest.features import VectorColumn
from multimodal_algo.predictors.column_features import Absent, Bins, Categories, ColumnFeatures
from multimodal_algo.predictors.tokens import Tokens
from multimodal_algo.predictors.word_features import WordFeatures, seconds_of_words

_VECTOR = ".vector"
# Bytes in memory during a fit for a byte of a cell. A letter begins two or three pieces, and each of them has a column
# and a value in several tables.
_BYTES_OF_VECTOR, _BYTES_OF_WORDS, _BYTES_OF_PIECES = 4, 10, 100
_ROWS_OF_SAMPLE = 1000
WORDS = ".words"
_ROWS_AT_A_TIME = 4096
_BINS = 16
_BIN_WEIGHT = 0.5
_TEXT_WEIGHT = 1.5


def vector_cells(column: str, vectors: VectorColumn) -> pd.Series:
    """Return vectors as one column of cells: the bytes of float16 numbers, and None where there is no vector.

    AutoGluon often copies tables. It copies only the references of a column of cells, but every number of a thousand
    columns.
    """
    cells = [None if index < 0 else vectors.vectors[index].tobytes() for index in vectors.index.tolist()]
    return pd.Series(cells, dtype=object, name=column + _VECTOR)


class LinearFeatures:
    """Numbers for a linear model, learned from the columns of a table.

    A text becomes the TF-IDF of its words, see `tokens_of`. A category becomes the one-hot code of a frequent value. A
    number becomes the one-hot code of its quantile bin. A vector becomes its standardised entries. The numbers of each
    column have about the same length: rows of TF-IDF have length 1, and vectors are scaled to length 1 on average. A
    column of its own marks the cells without a vector.

    Parameters
    ----------
    max_words
        Largest number of words of all text columns together.
    with_pieces
        Whether text also becomes the TF-IDF of pieces of words, 2 to 5 characters long, with the same largest number.
        Pieces know what words have in common, and take three times as long.
    """

    def __init__(self, max_words: int, with_pieces: bool = False) -> None:
        self._max_words = max_words
        self._tokens = list(Tokens) if with_pieces else [Tokens.WORDS]

    def seconds(self, table: pd.DataFrame) -> float:
        """Estimate the seconds of `fit_transform` for the texts, which are most of its time and cannot be cut short."""
        texts = [table[column] for column in table.columns if _kind(column, table[column]) == "text"]
        return sum(seconds_of_words(cells, kind) for cells in texts for kind in self._tokens)

    def bytes(self, table: pd.DataFrame) -> int:
        """Estimate the memory of `fit_transform`, and of a fit to its result without the weights."""
        cells = table.select_dtypes(include="object")
        sizes = cells.head(_ROWS_OF_SAMPLE).memory_usage(deep=True, index=False)
        of_text = _BYTES_OF_PIECES if Tokens.PIECES in self._tokens else _BYTES_OF_WORDS
        stored = sum(size * (_BYTES_OF_VECTOR if str(c).endswith(_VECTOR) else of_text) for c, size in sizes.items())
        return int(stored * max(1.0, len(table) / _ROWS_OF_SAMPLE))

    def fit_transform(self, table: pd.DataFrame) -> Blocks:
        """Learn from a table, and return its numbers.

        Parameters
        ----------
        table
            Columns of texts as str, of pandas categories, of numbers as floats, or of `vector_cells`.
        """
        kinds = {column: _kind(column, table[column]) for column in table.columns}
        self._vectors = {column: _VectorScale(table[column]) for column, kind in kinds.items() if kind == "vector"}
        # The words of a category follow it, see `CatModel`.
        self._plain = {c for c, kind in kinds.items() if kind in ("number", "category") or c.endswith(WORDS)}
        share = self._max_words // max(1, sum(kind == "text" for kind in kinds.values()))
        self._parts: list[tuple[str, ColumnFeatures, float]] = []
        for column, kind in kinds.items():
            if kind == "text":
                for tokens in self._tokens:
                    self._learn(column, WordFeatures(share, tokens), table, _TEXT_WEIGHT)
            if kind == "vector":
                self._learn(column, Absent(), table)
            if kind == "category":
                self._learn(column, Categories(), table)
            if kind == "number":
                bins = min(_BINS, table[column].nunique())
                if bins > 1:
                    self._learn(column, Bins(bins), table, _BIN_WEIGHT)
        return self.transform(table)

    def transform(self, table: pd.DataFrame) -> Blocks:
        """Return the numbers of the rows of `table`."""
        blocks = [part.transform(table[column]) * np.float32(weight) for column, part, weight in self._parts]
        words = sparse.hstack(blocks, format="csr", dtype=np.float32) if blocks else _nothing(len(table))
        dense = np.zeros((len(table), sum(scale.width for scale in self._vectors.values())), dtype=np.float32)
        start = 0
        for column, scale in self._vectors.items():
            scale.write(table[column], dense[:, start : start + scale.width])
            start += scale.width
        return Blocks(words, dense)

    @property
    def can_weigh(self) -> bool:
        """Whether there are numbers or categories next to texts or vectors."""
        rich = {column for column, _, _ in self._parts if column not in self._plain} | self._vectors.keys()
        return bool(rich) and any(column in self._plain for column, _, _ in self._parts)

    def factors(self, plain: float) -> np.ndarray:
        """Return a factor of each column of `transform`: `plain` for numbers and categories, otherwise 1, float32."""
        dense = np.ones(sum(scale.width for scale in self._vectors.values()), dtype=np.float32)
        parts = [(part.width, plain if column in self._plain else 1.0) for column, part, _ in self._parts]
        return np.concatenate([*(np.full(width, factor, dtype=np.float32) for width, factor in parts), dense])

    def _learn(self, column: str, part: ColumnFeatures, table: pd.DataFrame, weight: float = 1.0) -> None:
        try:
            part.fit(table[column])
        except ValueError:
            return  # No word occurs twice, so the column has no information about other rows.
        self._parts.append((column, part, weight))


class _VectorScale:
    """The mean and scale of a column of vectors, with which rows have length 1 on average."""

    def __init__(self, cells: pd.Series) -> None:
        present = cells[cells.notna()]
        self.width = len(present.iloc[0]) // 2 if len(present) else 0
        total, squares = np.zeros(self.width), np.zeros(self.width)
        for start in range(0, len(present), _ROWS_AT_A_TIME):
            vectors = _numbers(present.iloc[start : start + _ROWS_AT_A_TIME]).astype(np.float64)
            total += vectors.sum(axis=0)
            squares += (vectors**2).sum(axis=0)
        count = max(1, len(present))
        self._mean = (total / count).astype(np.float32)
        deviation = np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0.0))
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-6)
        self._scale = (scale / np.sqrt(max(1, self.width))).astype(np.float32)

    def write(self, cells: pd.Series, out: np.ndarray) -> None:
        """Fill the rows of `out`, float32 (rows, width), that have a vector."""
        present = np.flatnonzero(cells.notna())
        for start in range(0, len(present) if self.width else 0, _ROWS_AT_A_TIME):
            rows = present[start : start + _ROWS_AT_A_TIME]
            out[rows] = (_numbers(cells.iloc[rows]) - self._mean) * self._scale


def _numbers(cells: pd.Series) -> np.ndarray:
    return np.frombuffer(b"".join(cells), dtype=np.float16).reshape(len(cells), -1).astype(np.float32)


def _kind(column: str, cells: pd.Series) -> str:
    if column.endswith(_VECTOR):
        return "vector"
    if isinstance(cells.dtype, pd.CategoricalDtype):
        return "category"
    return "number" if pd.api.types.is_numeric_dtype(cells) else "text"


def _nothing(rows: int) -> sparse.csr_matrix:
    return sparse.csr_matrix((rows, 0), dtype=np.float32)
