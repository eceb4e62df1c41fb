"""Columns of every kind as the numbers that a linear model takes, each column about as loud as any other."""

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

_VECTOR = ".vector"
_ROWS_AT_A_TIME = 4096
_BINS = 16
_BIN_WEIGHT = 0.5
_TEXT_WEIGHT = 1.5
# Signs of text per second that TF-IDF takes, on one core.
_WORDS_PER_S, _PIECES_PER_S = 4e6, 3e5
# Words; and single signs of the scripts that are written without spaces, in pairs.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+"


def vector_cells(column: str, vectors: VectorColumn) -> pd.Series:
    """Vectors as one column of cells: bytes of float16, None where there is none.

    AutoGluon copies tables often: of a column of cells it copies references, of a thousand columns every number.
    """
    cells = [None if place < 0 else vectors.vectors[place].tobytes() for place in vectors.index.tolist()]
    return pd.Series(cells, dtype=object, name=column + _VECTOR)


class LinearFeatures:
    """Learns from a table what its columns become.

    Text becomes TF-IDF of words, a category one of its frequent values, a number the quantile bin that it lies in,
    a vector its standardised entries. Each column's numbers have about the same length: rows of TF-IDF as they come,
    vectors so that theirs is 1 on average. A cell without a vector is told by a column of its own.

    Parameters
    ----------
    max_words
        Most words that are kept of all text columns together.
    with_pieces
        Whether text also becomes TF-IDF of pieces of words, 2 to 5 signs long, as many at most: they know what words
        have in common, and cost three times as much.
    """

    def __init__(self, max_words: int, with_pieces: bool = False) -> None:
        self._max_words = max_words
        self._with_pieces = with_pieces

    def seconds(self, table: pd.DataFrame) -> float:
        """About how long `fit_transform` will take for its texts, which is most of it and cannot be cut short."""
        cells = [table[column] for column in table.columns if _kind(column, table[column]) == "text"]
        signs = sum(len(table) * column.head(_ROWS_AT_A_TIME).str.len().mean() for column in cells)
        return signs / (_PIECES_PER_S if self._with_pieces else _WORDS_PER_S)

    def fit_transform(self, table: pd.DataFrame) -> Blocks:
        """Learn from `table`: text as str, categories as pandas categories, numbers as floats, and `vector_cells`."""
        kinds = {column: _kind(column, table[column]) for column in table.columns}
        self._vectors = {column: _VectorScale(table[column]) for column, kind in kinds.items() if kind == "vector"}
        share = self._max_words // max(1, sum(kind == "text" for kind in kinds.values()))
        self._parts: list[tuple[str, _Part, float]] = []
        for column, kind in kinds.items():
            if kind == "text":
                self._learn(column, _Words(share, token_pattern=_TOKEN), table, _TEXT_WEIGHT)
                if self._with_pieces:
                    pieces = _Words(share, analyzer="char_wb", ngram_range=(2, 5))
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
        """The numbers of the rows of `table`."""
        blocks = [part.transform(table[column]) * np.float32(weight) for column, part, weight in self._parts]
        words = sparse.hstack(blocks, format="csr", dtype=np.float32) if blocks else _nothing(len(table))
        dense = np.zeros((len(table), sum(scale.width for scale in self._vectors.values())), dtype=np.float32)
        start = 0
        for column, scale in self._vectors.items():
            scale.write(table[column], dense[:, start : start + scale.width])
            start += scale.width
        return Blocks(words, dense)

    def _learn(self, column: str, part: _Part, table: pd.DataFrame, weight: float = 1.0) -> None:
        try:
            part.fit(table[column])
        except ValueError:
            return  # No word occurs twice: the column says nothing about other rows.
        self._parts.append((column, part, weight))


class _Part(ABC):
    """What a column's cells become; scikit-learn learns it, but its checks of every call take milliseconds."""

    @abstractmethod
    def fit(self, cells: pd.Series) -> None:
        """Learn from the cells; ValueError where they say nothing of other rows."""

    @abstractmethod
    def transform(self, cells: pd.Series) -> sparse.csr_matrix:
        """The numbers of cells, float32 (rows, numbers)."""


class _Words(_Part):
    """TF-IDF, rows of length 1."""

    def __init__(self, most: int, **options: Any) -> None:
        self._vectorizer = TfidfVectorizer(
            sublinear_tf=True, min_df=2, max_features=max(1, most), dtype=np.float32, **options
        )

    def fit(self, cells: pd.Series) -> None:
        self._vectorizer.fit(cells.astype(str))

    def transform(self, cells: pd.Series) -> sparse.csr_matrix:
        analyze, place = self._vectorizer.build_analyzer(), self._vectorizer.vocabulary_.get
        places, counts, ends = array("i"), array("f"), array("q", [0])
        for cell in cells:
            found = Counter(place(word) for word in analyze(str(cell)))
            found.pop(None, None)
            places.extend(found.keys())
            counts.extend(found.values())
            ends.append(len(places))
        indices, indptr = np.frombuffer(places, dtype=np.int32), np.array(ends)
        values = (1 + np.log(np.frombuffer(counts, dtype=np.float32))) * self._vectorizer.idf_[indices]
        rows = np.repeat(np.arange(len(cells)), np.diff(indptr))
        lengths = np.sqrt(np.bincount(rows, values**2, minlength=len(cells)))
        shape = (len(cells), len(self._vectorizer.vocabulary_))
        return sparse.csr_matrix(((values / lengths[rows]).astype(np.float32), indices, indptr), shape)


class _Categories(_Part):
    """One-hot of the values that occur twice; all others are one."""

    def fit(self, cells: pd.Series) -> None:
        counts = Counter(cells.astype(str))
        frequent = sorted(value for value, count in counts.items() if count > 1)
        self._places = {value: place for place, value in enumerate(frequent)}
        self._width = len(frequent) + (len(counts) > len(frequent))

    def transform(self, cells: pd.Series) -> sparse.csr_matrix:
        # Where each value was frequent, a new one is none of them.
        places = [self._places.get(cell, len(self._places)) for cell in cells.astype(str)]
        return _one_hot(np.array(places, dtype=np.int32), self._width)


class _Bins(_Part):
    """One-hot quantile bins of a number."""

    def __init__(self, bins: int) -> None:
        self._bins = bins

    def fit(self, cells: pd.Series) -> None:
        learner = KBinsDiscretizer(
            self._bins, encode="onehot", strategy="quantile", quantile_method="averaged_inverted_cdf"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a bin of one value is fine
            learner.fit(cells.to_numpy(dtype=np.float32).reshape(-1, 1))
        self._edges = learner.bin_edges_[0][1:-1]

    def transform(self, cells: pd.Series) -> sparse.csr_matrix:
        values = cells.to_numpy(dtype=np.float32)
        return _one_hot(np.searchsorted(self._edges, values, side="right"), len(self._edges) + 1)


class _Absent(_Part):
    """1 where there is no vector."""

    def fit(self, cells: pd.Series) -> None:
        pass

    def transform(self, cells: pd.Series) -> sparse.csr_matrix:
        return _one_hot(np.where(cells.isna(), 0, 1), 1)


class _VectorScale:
    """Mean and scale of a column of vectors, so that rows have length 1 on average."""

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
        places = np.flatnonzero(cells.notna())
        for start in range(0, len(places) if self.width else 0, _ROWS_AT_A_TIME):
            rows = places[start : start + _ROWS_AT_A_TIME]
            out[rows] = (_numbers(cells.iloc[rows]) - self._mean) * self._scale


def _numbers(cells: pd.Series) -> np.ndarray:
    return np.frombuffer(b"".join(cells), dtype=np.float16).reshape(len(cells), -1).astype(np.float32)


def _kind(column: str, cells: pd.Series) -> str:
    if column.endswith(_VECTOR):
        return "vector"
    if isinstance(cells.dtype, pd.CategoricalDtype):
        return "category"
    return "number" if pd.api.types.is_numeric_dtype(cells) else "text"


def _one_hot(places: np.ndarray, width: int) -> sparse.csr_matrix:
    """1 at the place of each row, float32 (rows, width); nothing where it is `width` or more."""
    there = places < width
    indptr = np.concatenate([[0], np.cumsum(there)])
    indices = places[there].astype(np.int32)
    return sparse.csr_matrix((np.ones(len(indices), dtype=np.float32), indices, indptr), (len(places), width))


def _nothing(rows: int) -> sparse.csr_matrix:
    return sparse.csr_matrix((rows, 0), dtype=np.float32)
