"""The rows that a fit of the fusion may see, and the combiners that are fitted to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from multimodal_algo.fusion.combiners import BestBranch, Combiner, Pool, Stacker
from multimodal_algo.fusion.folds import OutOfFold
from multimodal_algo.fusion.network import Network
from multimodal_algo.fusion.patterns import Pattern, partial_patterns, rows_of, rows_with
from multimodal_algo.fusion.votes import Votes

# These can learn shares of classes, as a teacher gives them. `Network` can too.
_LEARN_SOFT_LABELS = (Pool, Stacker)
_LEAST_ROWS, _LEAST_PARTIAL_ROWS = 20, 50
# With more products of rows and weights, a stacker is fitted to patterns of a tenth of the rows and more alone.
_COSTLY, _FREQUENT = 2e8, 0.1


class KnownRows:
    """The rows that a fit may see, and the combiners (ways to combine votes) that are fitted to them.

    Combiners are fitted for each pattern, which is the set of branches (partial models) that vote on a row.

    Parameters
    ----------
    rows
        All training rows.
    positions
        Positions of the rows that the fits may see, int (m,).
    columns
        The columns that each branch reads.
    """

    def __init__(self, rows: OutOfFold, positions: np.ndarray, columns: Sequence[Sequence[str]]) -> None:
        self.positions = positions
        self._rows, self._columns = rows, columns
        self._is_known = np.zeros(len(rows.targets), dtype=bool)
        self._is_known[positions] = True
        self._fits: dict[tuple[type[Combiner], Pattern], Combiner] = {}
        self.networks: Mapping[Pattern, Network] = {}

    def suits(self, pattern: Pattern) -> bool:
        """Return whether there are enough rows to fit a combiner for this pattern (set of voting branches)."""
        is_partial = bool(partial_patterns([pattern], self._columns))
        return len(self._suiting(pattern)) >= (_LEAST_PARTIAL_ROWS if is_partial else _LEAST_ROWS)

    def fitted(self, patterns: Iterable[Pattern], combiners: Sequence[type[Combiner]]) -> dict[Pattern, list[Combiner]]:
        """Return fitted combiners for each pattern (set of voting branches) that has enough rows.

        If a pattern has too few rows, combiners are also fitted for a part of it: without branches that lack a
        modality.
        """
        fitted: dict[Pattern, list[Combiner]] = {}
        patterns = list(patterns)
        rare = [pattern for pattern in patterns if not self.suits(pattern)]
        for pattern in dict.fromkeys([*patterns, *with_fallbacks(rare, self._columns)]):
            if len(pattern) == 1:
                # The prediction of a single branch is its vote. A fit would only bend it.
                fitted[pattern] = [BestBranch(0)]
            elif self.suits(pattern):
                fitted[pattern] = [self.fit(combiner, pattern) for combiner in combiners]
        return fitted

    def fit(self, combiner: type[Combiner], pattern: Pattern) -> Combiner:
        """Return a combiner (way to combine votes) that is fitted for a pattern (set of voting branches).

        Repeated calls return the same combiner. A pool takes the place of a network that is not better, and of a
        stacker that takes too long.
        """
        if combiner is Network:
            # A network that has learned nothing is equal to its pool.
            return self.networks.get(pattern) or self.fit(Pool, pattern)
        if combiner is Stacker and self.is_costly(pattern) and not self._is_frequent(pattern):
            return self.fit(Pool, pattern)
        if (combiner, pattern) not in self._fits:
            self._fits[combiner, pattern] = self._fit(combiner, pattern, self._suiting(pattern))
        return self._fits[combiner, pattern]

    def _fit(self, combiner: type[Combiner], pattern: Pattern, positions: np.ndarray) -> Combiner:
        labels = self._rows.learned if combiner in _LEARN_SOFT_LABELS else self._rows.targets
        if combiner is Pool:
            rows, with_bias = Pool.sample(len(positions), len(pattern), self._rows.votes.outputs)
            positions = positions[rows]
            vectors = self._rows.votes.probabilities(positions, pattern)
            return Pool.fit_sample(vectors, labels[positions], with_bias=with_bias)
        return combiner.fit(self._rows.votes.probabilities(positions, pattern), labels[positions])

    def pool(self, pattern: Pattern) -> Pool:
        """Return the pool (weighted product of votes) that is fitted for a pattern (set of branches that vote)."""
        pool = self.fit(Pool, pattern)
        assert isinstance(pool, Pool)
        return pool

    def is_costly(self, pattern: Pattern) -> bool:
        """Return whether the fit of a stacker for this pattern (set of branches that vote) takes seconds."""
        return len(self.positions) * len(pattern) * self._rows.votes.outputs**2 > _COSTLY

    def _is_frequent(self, pattern: Pattern) -> bool:
        return len(rows_of(pattern, self._rows.votes)) >= _FREQUENT * len(self._rows.targets)

    def _suiting(self, pattern: Pattern) -> np.ndarray:
        rows = suiting(pattern, self._rows.votes, self._columns)
        return rows[self._is_known[rows]]


def suiting(pattern: Pattern, votes: Votes, columns: Sequence[Sequence[str]]) -> np.ndarray:
    """Return positions of rows on which the votes of a pattern (set of branches) can be weighed, int (n,).

    On these rows at least the branches of the pattern vote. If one of these branches votes although a modality is
    missing, only rows with exactly this pattern count.
    """
    return (rows_of if partial_patterns([pattern], columns) else rows_with)(pattern, votes)


def with_fallbacks(patterns: Iterable[Pattern], columns: Sequence[Sequence[str]]) -> list[Pattern]:
    """Return the patterns (sets of voting branches) and smaller ones to fall back to.

    If a branch in a pattern votes although a modality is missing, the fallback is the pattern without such branches.

    Parameters
    ----------
    patterns
        Patterns to begin with.
    columns
        The columns that each branch reads.
    """
    patterns = list(patterns)
    return list(dict.fromkeys([*patterns, *_without_partial_votes(partial_patterns(patterns, columns), columns)]))


def _without_partial_votes(partial: Iterable[Pattern], columns: Sequence[Sequence[str]]) -> Iterator[Pattern]:
    for pattern in partial:
        left = pattern
        while left and partial_patterns([left], columns):
            left = _without_widest(left, columns)
        if left:
            yield left


def _without_widest(pattern: Pattern, columns: Sequence[Sequence[str]]) -> Pattern:
    """Return the pattern (set of branches) without the branch that reads the most columns."""
    widest = max(pattern, key=lambda branch: len(columns[branch]))
    return tuple(branch for branch in pattern if branch != widest)
