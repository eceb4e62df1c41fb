"""Patterns: which branches have a vote for a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from multimodal_algo.fusion.votes import Votes

Pattern = tuple[int, ...]
"""The branches that have a vote for a row, ascending."""


def patterns_of(votes: Votes) -> list[Pattern]:
    """Return the patterns of the rows, without the empty one."""
    masks = np.unique(votes.speaking, axis=0)
    return [tuple(int(branch) for branch in np.flatnonzero(mask)) for mask in masks if mask.any()]


def masks_of(patterns: Sequence[Pattern], branches: int) -> np.ndarray:
    """Return whether each branch has a vote in each pattern, bool (patterns, branches)."""
    masks = np.zeros((len(patterns), branches), dtype=bool)
    for mask, pattern in zip(masks, patterns, strict=True):
        mask[list(pattern)] = True
    return masks


def rows_of(pattern: Pattern, votes: Votes) -> np.ndarray:
    """Return the rows of exactly this pattern, int (n,)."""
    return np.flatnonzero((votes.speaking == masks_of([pattern], votes.branches)).all(axis=1))


def rows_with(pattern: Pattern, votes: Votes) -> np.ndarray:
    """Return the rows for which at least the branches of `pattern` have a vote, int (n,)."""
    return np.flatnonzero(votes.speaking[:, pattern].all(axis=1))


def partial_patterns(patterns: Iterable[Pattern], columns: Sequence[Sequence[str]]) -> set[Pattern]:
    """Return the patterns in which a branch of several modalities has a vote without all of its modalities.

    Such a vote is worth less than another vote of the branch. A branch of some of its columns has no vote there, and
    so shows that they are missing.

    Parameters
    ----------
    patterns
        Patterns.
    columns
        The columns of each branch.
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
    """Yield the patterns that are left when the columns of one branch are empty, and the pattern of each branch alone.

    Parameters
    ----------
    columns
        The columns of each branch.
    """
    for number, missing in enumerate(columns):
        left = tuple(other for other, needed in enumerate(columns) if not set(needed) & set(missing))
        if left:
            yield left
        yield (number,)
