"""Columns of every kind as the numbers that a linear model takes, each column about as loud as any other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder

from multimodal_algo.ingest.features import VectorColumn
from multimodal_algo.linear import Blocks

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


class WideEncoder:
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
        self._parts: list[tuple[str, Any, float]] = []
        for column, kind in kinds.items():
            if kind == "text":
                self._learn(column, _words(share), table, _TEXT_WEIGHT)
                if self._with_pieces:
                    self._learn(column, _pieces(share), table, _TEXT_WEIGHT)
            if kind == "vector":
                self._learn(column, _Absent(), table)
            if kind == "category":
                self._learn(column, OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2), table)
            if kind == "number":
                bins = min(_BINS, table[column].nunique())
                if bins > 1:
                    self._learn(column, _Bins(bins), table, _BIN_WEIGHT)
        return self.transform(table)

    def transform(self, table: pd.DataFrame) -> Blocks:
        """The numbers of the rows of `table`."""
        blocks = [
            _csr(part.transform(_input(part, table[column]))) * np.float32(weight)
            for column, part, weight in self._parts
        ]
        words = sparse.hstack(blocks, format="csr", dtype=np.float32) if blocks else _nothing(len(table))
        dense = np.zeros((len(table), sum(scale.width for scale in self._vectors.values())), dtype=np.float32)
        start = 0
        for column, scale in self._vectors.items():
            scale.write(table[column], dense[:, start : start + scale.width])
            start += scale.width
        return Blocks(words, dense)

    def _learn(self, column: str, part: Any, table: pd.DataFrame, weight: float = 1.0) -> None:
        try:
            part.fit(_input(part, table[column]))
        except ValueError:
            return  # No word occurs twice: the column says nothing about other rows.
        self._parts.append((column, part, weight))


class _Bins:
    """One-hot quantile bins of a number."""

    def __init__(self, bins: int) -> None:
        self._bins = KBinsDiscretizer(
            bins, encode="onehot", strategy="quantile", quantile_method="averaged_inverted_cdf", dtype=np.float32
        )

    def fit(self, values: np.ndarray) -> None:
        self._bins.fit(values)

    def transform(self, values: np.ndarray) -> sparse.csr_matrix:
        return self._bins.transform(values)


class _Absent:
    """1 where there is no vector."""

    def fit(self, values: np.ndarray) -> None:
        pass

    def transform(self, values: np.ndarray) -> sparse.csr_matrix:
        return sparse.csr_matrix(pd.isna(values).astype(np.float32))


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


def _words(most: int) -> TfidfVectorizer:
    return TfidfVectorizer(
        sublinear_tf=True, min_df=2, max_features=max(1, most), dtype=np.float32, token_pattern=_TOKEN
    )


def _pieces(most: int) -> TfidfVectorizer:
    return TfidfVectorizer(
        sublinear_tf=True, min_df=2, max_features=max(1, most), dtype=np.float32, analyzer="char_wb", ngram_range=(2, 5)
    )


def _input(part: Any, cells: pd.Series) -> Any:
    if isinstance(part, TfidfVectorizer):
        return cells.astype(str)
    values = cells.astype(str) if isinstance(cells.dtype, pd.CategoricalDtype) else cells
    return values.to_numpy().reshape(-1, 1)


def _csr(matrix: Any) -> sparse.csr_matrix:
    return sparse.csr_matrix(matrix, dtype=np.float32)


def _nothing(rows: int) -> sparse.csr_matrix:
    return sparse.csr_matrix((rows, 0), dtype=np.float32)
