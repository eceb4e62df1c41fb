"""Patterns: the set of branches that have a vote on a row. Rows with the same pattern are combined in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from multimodal_algo.fusion.votes import Votes

Pattern = tuple[int, ...]
"""The branches that have a vote for a row, ascending."""


def patterns_of(votes: Votes) -> list[Pattern]:
    """Return all patterns (sets of voting branches) among the rows. Rows without any vote do not count."""
    masks = np.unique(votes.speaking, axis=0)
    return [tuple(int(branch) for branch in np.flatnonzero(mask)) for mask in masks if mask.any()]


def masks_of(patterns: Sequence[Pattern], branches: int) -> np.ndarray:
    """Return which branches (partial models) vote in each pattern, bool (patterns, branches)."""
    masks = np.zeros((len(patterns), branches), dtype=bool)
    for mask, pattern in zip(masks, patterns, strict=True):
        mask[list(pattern)] = True
    return masks


def rows_of(pattern: Pattern, votes: Votes) -> np.ndarray:
    """Return the positions of the rows on which exactly the branches (partial models) of `pattern` vote, int (n,)."""
    return np.flatnonzero((votes.speaking == masks_of([pattern], votes.branches)).all(axis=1))


def rows_with(pattern: Pattern, votes: Votes) -> np.ndarray:
    """Return the positions of the rows on which at least the branches (partial models) of `pattern` vote, int (n,)."""
    return np.flatnonzero(votes.speaking[:, pattern].all(axis=1))


def partial_patterns(patterns: Iterable[Pattern], columns: Sequence[Sequence[str]]) -> set[Pattern]:
    """Return the patterns in which a branch (partial model) votes although one of its several modalities is missing.

    Such a vote is worth less than the branch's other votes, so it is weighted separately. The missing modality shows in
    another branch that reads only some of the same columns and does not vote.

    Parameters
    ----------
    patterns
        Patterns (sets of voting branches) to choose from.
    columns
        The columns that each branch reads.
    """
    needed = [frozenset(own) for own in columns]
    partial = set()
    for pattern in patterns:
        present = {needed[branch] for branch in pattern}
        missing = [own for own in needed if own not in present]
        if any(own < other for own in missing for other in present):
            partial.add(pattern)
    return partial


def without_each(columns: Sequence[Sequence[str]]) -> Iterable[Pattern]:
    """Yield the patterns that are left when the columns of one branch are empty, and the pattern of each single branch.

    A pattern is the set of branches (partial models) that vote on a row. New rows may have these patterns even if no
    training row does.

    Parameters
    ----------
    columns
        The columns that each branch reads.
    """
    for number, missing in enumerate(columns):
        left = tuple(other for other, needed in enumerate(columns) if not set(needed) & set(missing))
        if left:
            yield left
        yield (number,)
