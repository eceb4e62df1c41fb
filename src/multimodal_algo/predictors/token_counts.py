"""Counts of the tokens (words or pieces of words) in each cell of text. A process cuts each cell into tokens only once.

The fits of all folds, models and branches read the same cells, and cutting a text takes much longer than using the
stored counts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice, pairwise

import numpy as np
from scipy import sparse

from multimodal_algo.core.memory import available_bytes
from multimodal_algo.predictors.tokens import Tokens, normalised, pieces_of, tokens_of

# The counts of one kind of tokens take at most this share of the free memory, and at most so many bytes.
_MEMORY_SHARE, _MOST_BYTES = 0.08, 1 << 30
# Bytes of Python's objects for a token, and for a cell next to its letters.
_TOKEN_BYTES, _CELL_BYTES = 160, 120
# Memory is looked at after so many letters.
_LETTERS_AT_ONCE = 1 << 20


class TokenCounts:
    """A growing table of cells of text, with the counts of their tokens.

    Parameters
    ----------
    kind
        Whether tokens are words or pieces of words.
    most_bytes
        Bytes of memory that the counts may take.
    """

    _numbers = count()

    def __init__(self, kind: Tokens, most_bytes: float = float("inf")) -> None:
        self.number = next(self._numbers)
        """Another number for each object, by which others remember it."""
        self._count: _Counter = _Words() if kind is Tokens.WORDS else _Pieces()
        self._most_bytes = most_bytes
        self._row_of: dict[str, int] = {}
        self._letters = 0
        self._parts = [_nothing()]
        self._order = np.empty(0, dtype=np.int64)

    @property
    def names(self) -> list[str]:
        """The tokens, in the order of the columns that `of` returns."""
        return list(self._count.ids)

    @property
    def order(self) -> np.ndarray:
        """Position of each token in alphabetical order, int64 (tokens,)."""
        if len(self._order) != len(self._count.ids):
            names = self.names
            self._order = np.empty(len(names), dtype=np.int64)
            self._order[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
        return self._order

    @property
    def bytes(self) -> int:
        """Bytes of memory of the counts and of the dictionaries that find cells and tokens."""
        objects = self._letters + _CELL_BYTES * len(self._row_of) + _TOKEN_BYTES * len(self._count.ids)
        return objects + sum(map(_bytes, self._parts)) + self._count.bytes

    def new(self, cells: Iterable[str]) -> list[str]:
        """Return those cells that are not counted yet, without repetition."""
        return [cell for cell in dict.fromkeys(cells) if cell not in self._row_of]

    def of(self, cells: Sequence[str]) -> sparse.csr_matrix | None:
        """Return how often each token is in each cell, float32 (cells, tokens). New cells are counted and stored.

        Return None if there is no memory left for the new cells.
        """
        for chunk in _chunks(self.new(cells)):
            if self.bytes > self._most_bytes:
                return None
            self._add(chunk)
        rows = np.fromiter(map(self._row_of.__getitem__, cells), dtype=np.int64, count=len(cells))
        return self._joined()[rows]

    def _add(self, cells: Sequence[str]) -> None:
        known = len(self._row_of)
        self._parts.append(self._count(cells))
        self._letters += sum(map(len, cells))
        self._row_of.update(zip(cells, range(known, known + len(cells)), strict=True))

    def _joined(self) -> sparse.csr_matrix:
        """Return the counts of all stored cells as one matrix."""
        self._parts = [_stacked(self._parts, len(self._count.ids))]
        return self._parts[0]


class _Counter(ABC):
    """Cuts cells into tokens, numbers the tokens, and counts them."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = _numbering()

    bytes = 0
    """Memory of what is known about tokens."""

    @abstractmethod
    def __call__(self, cells: Iterable[str]) -> sparse.csr_matrix:
        """Return how often each token is in each cell, float32 (cells, tokens)."""


class _Words(_Counter):
    def __call__(self, cells: Iterable[str]) -> sparse.csr_matrix:
        return _counts(map(tokens_of, cells), self.ids)


class _Pieces(_Counter):
    """Counts pieces of words. Each different word is cut into pieces only once."""

    def __init__(self) -> None:
        super().__init__()
        self._words = _numbering()
        self._pieces = _nothing()

    @property
    def bytes(self) -> int:  # type: ignore[override]
        return _bytes(self._pieces) + sum(map(len, self._words)) + _TOKEN_BYTES * len(self._words)

    def __call__(self, cells: Iterable[str]) -> sparse.csr_matrix:
        words = _counts((normalised(cell).split() for cell in cells), self._words)
        new = islice(self._words, self._pieces.shape[0], None)
        self._pieces = _stacked([self._pieces, _counts(map(pieces_of, new), self.ids)], len(self.ids))
        return words @ self._pieces


def _numbering() -> dict[str, int]:
    """Return a dictionary that gives each new key the next number, from 0."""
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    return numbers


def _counts(texts: Iterable[Iterable[str]], ids: dict[str, int]) -> sparse.csr_matrix:
    """Return how often each token is in each text, float32 (texts, tokens)."""
    parts = count_numbers(map(ids.__getitem__, tokens) for tokens in texts)
    return sparse.csr_matrix(parts, (len(parts[2]) - 1, len(ids)))


def count_numbers(texts: Iterable[Iterable[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how often each number is in each text, as the three arrays of a CSR matrix of scipy.

    The counts are float32.
    """
    numbers, counts, ends = array("i"), array("f"), array("q", [0])
    for text in texts:
        times = Counter(text)
        numbers.extend(times.keys())
        counts.extend(times.values())
        ends.append(len(numbers))
    return np.frombuffer(counts, dtype=np.float32), np.frombuffer(numbers, dtype=np.int32), np.array(ends)


def _stacked(parts: list[sparse.csr_matrix], width: int) -> sparse.csr_matrix:
    for part in parts:
        part.resize(part.shape[0], width)
    return parts[0] if len(parts) == 1 else sparse.vstack(parts, format="csr")


def _chunks(cells: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the cells in chunks of about `_LETTERS_AT_ONCE` letters."""
    ends = np.cumsum([len(cell) + 1 for cell in cells]) // _LETTERS_AT_ONCE
    starts = [0, *(np.flatnonzero(np.diff(ends)) + 1).tolist(), len(cells)]
    return (cells[start:end] for start, end in pairwise(starts) if start < end)


def _bytes(matrix: sparse.csr_matrix) -> int:
    return int(matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes)


def _nothing() -> sparse.csr_matrix:
    return sparse.csr_matrix((0, 0), dtype=np.float32)


_SHARED: dict[Tokens, TokenCounts] = {}


def counted(kind: Tokens, cells: Sequence[str]) -> tuple[sparse.csr_matrix, TokenCounts]:
    """Return how often each token is in each cell, float32 (cells, tokens), and the object that names the tokens.

    This process remembers the counts for later calls. If memory does not suffice for that, they are for this call
    alone.
    """
    if kind not in _SHARED:
        _SHARED[kind] = TokenCounts(kind, min(_MOST_BYTES, _MEMORY_SHARE * available_bytes()))
    counts = _SHARED[kind].of(cells)
    if counts is not None:
        return counts, _SHARED[kind]
    alone = TokenCounts(kind)
    counts = alone.of(cells)
    assert counts is not None  # it has no limit
    return counts, alone


def recalled(kind: Tokens, cells: Sequence[str]) -> tuple[sparse.csr_matrix, TokenCounts] | None:
    """Return the same as `counted`, if this process has used `counted` before and its memory suffices.

    Otherwise None.
    """
    shared = _SHARED.get(kind)
    counts = None if shared is None else shared.of(cells)
    return None if shared is None or counts is None else (counts, shared)


def uncounted(kind: Tokens, cells: Sequence[str]) -> list[str]:
    """Return those cells that `counted` would still have to cut, without repetition."""
    return _SHARED[kind].new(cells) if kind in _SHARED else list(dict.fromkeys(cells))


def forget_counts() -> None:
    """Free the memory of all counts that this process remembers."""
    _SHARED.clear()
