"""The features of a linear model: columns of every kind as numbers, with about the same weight for each column."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import KBinsDiscretizer

from multimodal_algo.core.linear import Blocks
from multimodal_algo.ingest.features import VectorColumn
from multimodal_algo.predictors.tokens import normalised, tokens_of

_VECTOR = ".vector"
WORDS = ".words"
_ROWS_AT_A_TIME = 4096
_BINS = 16
_BIN_WEIGHT = 0.5
_TEXT_WEIGHT = 1.5
# Bytes of text per second that TF-IDF processes, on one core. A character of most scripts has two to four bytes.
_WORDS_PER_S, _PIECES_PER_S = 4e6, 3e5


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
        self._with_pieces = with_pieces
        self._plain_weight = 1.0

    def seconds(self, table: pd.DataFrame) -> float:
        """Estimate the seconds of `fit_transform` for the texts, which are most of its time and cannot be cut short."""
        cells = [table[column] for column in table.columns if _kind(column, table[column]) == "text"]
        size = sum(len(table) * _bytes_of(column.head(_ROWS_AT_A_TIME)) for column in cells)
        return size / (_PIECES_PER_S if self._with_pieces else _WORDS_PER_S)

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
        self._parts: list[tuple[str, _Part, float]] = []
        for column, kind in kinds.items():
            if kind == "text":
                self._learn(column, _Words(share, analyzer=tokens_of), table, _TEXT_WEIGHT)
                if self._with_pieces:
                    pieces = _Words(share, analyzer="char_wb", ngram_range=(2, 5), preprocessor=normalised)
                    self._learn(column, pieces, table, _TEXT_WEIGHT)
            if kind == "vector":
                self._learn(column, _Absent(), table)
            if kind == "category":
                self._learn(column, _Categories(), table)
            if kind == "number":
                bins = min(_BINS, table[column].nunique())
                if bins > 1:
                    self._learn(column, _Bins(bins), table, _BIN_WEIGHT)
        return self.transform(table)

    def transform(self, table: pd.DataFrame) -> Blocks:
        """Return the numbers of the rows of `table`."""
        blocks = [
            part.transform(table[column]) * np.float32(weight * (self._plain_weight if column in self._plain else 1.0))
            for column, part, weight in self._parts
        ]
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

    def weigh_plain(self, weight: float, blocks: Blocks) -> Blocks:
        """Set the factor of the features of numbers and categories, next to those of texts and vectors.

        Parameters
        ----------
        weight
            The factor, 1 at first.
        blocks
            The result of `fit_transform` or `transform` with the factor 1.

        Returns
        -------
        Blocks
            The same rows with the new factor.
        """
        self._plain_weight = weight
        factors = [
            np.full(part.width, weight if column in self._plain else 1.0, dtype=np.float32)
            for column, part, _ in self._parts
        ]
        columns = np.concatenate([*factors, np.empty(0, np.float32)])
        return Blocks((blocks.sparse @ sparse.diags(columns)).tocsr().astype(np.float32), blocks.dense)

    def _learn(self, column: str, part: _Part, table: pd.DataFrame, weight: float = 1.0) -> None:
        try:
            part.fit(table[column])
        except ValueError:
            return  # No word occurs twice, so the column has no information about other rows.
        self._parts.append((column, part, weight))


class _Part(ABC):
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


class _Words(_Part):
    """TF-IDF, with rows of length 1."""

    def __init__(self, most: int, **options: Any) -> None:
        self._vectorizer = TfidfVectorizer(
            sublinear_tf=True, min_df=2, max_features=max(1, most), dtype=np.float32, **options
        )

    @property
    def width(self) -> int:
        return len(self._vectorizer.vocabulary_)

    def fit(self, cells: pd.Series) -> None:
        self._vectorizer.fit(cells.astype(str))

    def transform(self, cells: pd.Series) -> sparse.csr_matrix:
        analyze, number_of = self._vectorizer.build_analyzer(), self._vectorizer.vocabulary_.get
        numbers, counts, ends = array("i"), array("f"), array("q", [0])
        for cell in cells:
            words = Counter(number_of(word) for word in analyze(str(cell)))
            words.pop(None, None)
            numbers.extend(words.keys())
            counts.extend(words.values())
            ends.append(len(numbers))
        indices, indptr = np.frombuffer(numbers, dtype=np.int32), np.array(ends)
        values = (1 + np.log(np.frombuffer(counts, dtype=np.float32))) * self._vectorizer.idf_[indices]
        rows = np.repeat(np.arange(len(cells)), np.diff(indptr))
        lengths = np.sqrt(np.bincount(rows, values**2, minlength=len(cells)))
        return sparse.csr_matrix(
            ((values / lengths[rows]).astype(np.float32), indices, indptr), (len(cells), self.width)
        )


class _Categories(_Part):
    """One-hot codes of the values that occur twice. All other values share one code."""

    width = 0

    def fit(self, cells: pd.Series) -> None:
        counts = Counter(cells.astype(str))
        frequent = sorted(value for value, count in counts.items() if count > 1)
        self._codes = {value: code for code, value in enumerate(frequent)}
        self.width = len(frequent) + (len(counts) > len(frequent))

    def transform(self, cells: pd.Series) -> sparse.csr_matrix:
        # Where every value was frequent, a new one has no code.
        codes = [self._codes.get(cell, len(self._codes)) for cell in cells.astype(str)]
        return _one_hot(np.array(codes, dtype=np.int32), self.width)


class _Bins(_Part):
    """One-hot codes of the quantile bins of a number, and of a missing number if there were any."""

    width = 0

    def __init__(self, bins: int) -> None:
        self._bins = bins

    def fit(self, cells: pd.Series) -> None:
        learner = KBinsDiscretizer(
            self._bins, encode="onehot", strategy="quantile", quantile_method="averaged_inverted_cdf"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a bin of one value is fine
            learner.fit(cells.dropna().to_numpy(dtype=np.float64).reshape(-1, 1))
        self._edges = learner.bin_edges_[0][1:-1]
        self.width = len(self._edges) + 1 + bool(cells.isna().any())

    def transform(self, cells: pd.Series) -> sparse.csr_matrix:
        values = cells.to_numpy(dtype=np.float64)
        codes = np.searchsorted(self._edges, values, side="right")
        return _one_hot(np.where(np.isnan(values), len(self._edges) + 1, codes), self.width)


class _Absent(_Part):
    """The number 1 where there is no vector."""

    width = 1

    def fit(self, cells: pd.Series) -> None:
        pass

    def transform(self, cells: pd.Series) -> sparse.csr_matrix:
        return _one_hot(np.where(cells.isna(), 0, 1), 1)


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


def _bytes_of(cells: pd.Series) -> float:
    """Return the mean length of texts in UTF-8."""
    return sum(len(str(cell).encode("utf-8", "surrogatepass")) for cell in cells) / max(1, len(cells))


def _one_hot(codes: np.ndarray, width: int) -> sparse.csr_matrix:
    """Return one-hot codes, float32 (rows, width). The row of a code that is `width` or more is all 0."""
    valid = codes < width
    indptr = np.concatenate([[0], np.cumsum(valid)])
    indices = codes[valid].astype(np.int32)
    return sparse.csr_matrix((np.ones(len(indices), dtype=np.float32), indices, indptr), (len(codes), width))


def _nothing(rows: int) -> sparse.csr_matrix:
    return sparse.csr_matrix((rows, 0), dtype=np.float32)
