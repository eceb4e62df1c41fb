"""TF-IDF of the tokens (words or pieces of words) of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse

from multimodal_algo.core.sparse_rows import SparseRows
from multimodal_algo.predictors.column_features import ColumnFeatures
from multimodal_algo.predictors.token_counts import TokenCounts, count_numbers, counted, recalled, uncounted
from multimodal_algo.predictors.tokens import Tokens, tokens_in

_LEAST_CELLS = 2
_SAMPLE = 4096
# Bytes of text per second that are cut into tokens once, and whose counts a fit takes, on one core. A character of most
# scripts has two to four bytes.
_CUT_PER_S = {Tokens.WORDS: 4e6, Tokens.PIECES: 8e5}
_TAKEN_PER_S = {Tokens.WORDS: 15e6, Tokens.PIECES: 3e6}


class WordFeatures(ColumnFeatures):
    """TF-IDF of the tokens that are in at least two cells. The numbers of each row have length 1.

    The numbers are those of scikit-learn's ``TfidfVectorizer(sublinear_tf=True, min_df=2)``. If there are too many
    tokens, the most frequent ones are used. Among equally frequent ones, the alphabet decides.

    Parameters
    ----------
    most
        Largest number of tokens to use, each of which becomes a column.
    kind
        Whether tokens are words or pieces of words.
    """

    kind = "words"
    learned = ("_tokens", "_idf", "names")

    def __init__(self, most: int = 1, kind: Tokens = Tokens.WORDS) -> None:
        self._most = max(1, most)
        self._tokens = kind
        self._column_of: dict[str, int] = {}
        # Column of each token of the counts with this number, which other processes do not have.
        self._columns: tuple[int, np.ndarray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_columns": None}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what another object learned, see `ColumnFeatures.restore`."""
        super().restore(state)
        self._tokens = Tokens(self._tokens)

    @property
    def width(self) -> int:
        """How many numbers one cell becomes: one for each token."""
        return len(self._column_of)

    @property
    def names(self) -> list[str]:
        """The tokens, in the order of the columns."""
        return list(self._column_of)

    @names.setter
    def names(self, names: Sequence[str]) -> None:
        self._column_of = {name: column for column, name in enumerate(names)}

    def fit(self, cells: Sequence[str]) -> None:
        """Learn which tokens to use and their IDF weights, see `ColumnFeatures.fit`."""
        counts, tokens = counted(self._tokens, _texts(cells))
        cells_with = np.bincount(counts.indices, minlength=counts.shape[1])
        chosen = self._most_frequent(counts, np.flatnonzero(cells_with >= _LEAST_CELLS), tokens.order)
        if not len(chosen):
            raise ValueError("no token is in two cells")
        names = tokens.names
        self._column_of = {names[token]: column for column, token in enumerate(chosen.tolist())}
        # In the order of scikit-learn's operations, so that float32 is rounded in the same way.
        share = np.float32(len(cells) + 1) / (cells_with[chosen].astype(np.float32) + np.float32(1))
        self._idf = np.log(share) + np.float32(1)
        columns = np.full(counts.shape[1], -1, dtype=np.int32)
        columns[chosen] = np.arange(len(chosen))
        self._columns = tokens.number, columns

    def _most_frequent(self, counts: sparse.csr_matrix, candidates: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Return the numbers of the most frequent candidates in alphabetical order.

        Their number is limited by ``most``.
        """
        candidates = candidates[np.argsort(order[candidates])]
        if len(candidates) > self._most:
            totals = np.bincount(counts.indices, weights=counts.data, minlength=counts.shape[1])[candidates]
            candidates = candidates[np.sort(np.argsort(-totals, kind="stable")[: self._most])]
        return candidates

    def transform(self, cells: Sequence[str]) -> SparseRows:
        """Return the TF-IDF of the cells, see `ColumnFeatures.transform`.

        Equal cells are computed once. Cells that this process has counted for a fit are not cut into tokens again.
        """
        texts = _texts(cells)
        row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        if 2 * len(row_of) > len(texts):
            return self._transformed(texts)
        return self._transformed(list(row_of)).take(np.array([row_of[text] for text in texts]))

    def _transformed(self, texts: Sequence[str]) -> SparseRows:
        known = recalled(self._tokens, texts)
        counts = self._cut(texts) if known is None else self._of_columns(*known)
        values = (1 + np.log(counts.values)) * self._idf[counts.columns]
        rows = np.repeat(np.arange(len(texts)), np.diff(counts.ends))
        lengths = np.sqrt(np.bincount(rows, values**2, minlength=len(texts)))
        return replace(counts, values=(values / lengths[rows]).astype(np.float32))

    def _of_columns(self, counts: sparse.csr_matrix, tokens: TokenCounts) -> SparseRows:
        """Return the counts of those tokens that have a column, float32 (cells, columns). `counts` has all tokens."""
        columns = self._columns_of(tokens)[counts.indices]
        is_kept = columns >= 0
        ends = np.concatenate([[0], np.cumsum(is_kept)])[counts.indptr]
        return SparseRows(counts.data[is_kept], columns[is_kept], ends, self.width)

    def _columns_of(self, tokens: TokenCounts) -> np.ndarray:
        """Return the column of each token, int32 (tokens,). It is -1 for a token without a column."""
        names = tokens.names
        if self._columns is None or self._columns[0] != tokens.number:
            columns = np.fromiter((self._column_of.get(name, -1) for name in names), dtype=np.int32, count=len(names))
        else:
            columns = self._columns[1]
            # Tokens that were counted later are not among those of the fit.
            columns = np.concatenate([columns, np.full(len(names) - len(columns), -1, dtype=np.int32)])
        self._columns = tokens.number, columns
        return columns

    def _cut(self, texts: Sequence[str]) -> SparseRows:
        """Cut texts into tokens, and return the counts of those that have a column, float32 (cells, columns)."""
        column_of = self._column_of.get
        parts = count_numbers(
            (column for token in tokens_in(text, self._tokens) if (column := column_of(token)) is not None)
            for text in texts
        )
        return SparseRows(*parts, self.width)


def seconds_of_words(cells: Sequence[str] | np.ndarray, kind: Tokens) -> float:
    """Estimate the seconds of a fit of `WordFeatures` to cells. Cells that other fits have cut already take less."""
    texts = _texts(cells)
    return _bytes_of(uncounted(kind, texts)) / _CUT_PER_S[kind] + _bytes_of(texts) / _TAKEN_PER_S[kind]


def _bytes_of(texts: Sequence[str]) -> float:
    """Estimate the bytes of texts in UTF-8."""
    sample = texts[:_SAMPLE]
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in sample)
    return len(texts) * size / max(1, len(sample))


def _texts(cells: Sequence[str] | np.ndarray) -> list[str]:
    return [str(cell) for cell in cells]
