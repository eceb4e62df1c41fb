"""Differences between new rows and the training rows, column by column, with few false alarms.

Each measure of a sketch gives a table with two lines: the number of training rows and of new rows in each bin. If
nothing changed, the new rows are a random draw from all rows of the table. Many such draws show how probable a
difference of this size is by chance. This method is also right for few rows and for rare values. Holm's correction (A
Simple Sequentially Rejective Multiple Test Procedure. Scandinavian Journal of Statistics 6, 1979) limits the false
alarms of all columns together. A difference that is certain but small does not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from multimodal_algo.monitoring.sketches import Measure, Property, Sketches

LEVEL = 0.02
"""Greatest probability that any column is reported although nothing changed."""

LEAST_ROWS = 10
"""Least number of new rows for a comparison."""

# The least difference that counts, by property. `Difference.size` says how it is measured.
_LEAST = {Property.MISSING: 0.05, Property.NEW: 0.05}
_LEAST_OF_REST = 0.1
# First and greatest number of draws, and the number of draws with as great a difference after which drawing stops.
_DRAWS, _MOST_DRAWS, _ENOUGH = 50, 20_000, 10
_SEED = 0
# More rows would give more certainty than is needed.
_MOST_ROWS = 1_000_000
_PSI_BINS = 10


@dataclass(frozen=True)
class Difference:
    """The difference between new rows and training rows in one measure, a property of a column.

    Parameters
    ----------
    measure
        The measure.
    new
        Number of new rows in each bin, int64 (bins,).
    size
        Size of the difference, from 0 to 1. For ordered bins, the largest difference of the cumulative shares of rows
        (the Kolmogorov-Smirnov distance). For other bins, half the sum of the absolute differences of the shares.
    psi
        Population stability index. Ordered bins are joined to at most ten bins for it.
    p_value
        Probability of a difference of at least this size by chance.
    differs
        Whether the difference counts: it is certain after Holm's correction, and it is large enough.
    """

    measure: Measure
    new: np.ndarray
    size: float
    psi: float
    p_value: float
    differs: bool = False

    @property
    def sentence(self) -> str:
        """The difference in words, for the log and the page."""
        measure, before, after = self.measure, *map(_shares, (self.measure.counts, self.new))
        if measure.kind is Property.MISSING:
            return f"missing in {after[1]:.0%} of the rows, in training {before[1]:.0%}"
        if measure.kind is Property.NEW:
            return f"values that training never saw in {after[1]:.0%} of the rows, expected are {before[1]:.0%}"
        if measure.kind is Property.DIRECTION:
            return f"vectors lie elsewhere (KS {self.size:.2f})"
        if measure.kind is Property.DISTANCE:
            verb = "farther from" if np.argmax(after.cumsum() - before.cumsum() < 0) else "nearer to"
            return f"vectors lie {verb} those of training (KS {self.size:.2f})"
        if measure.is_ordered:
            noun = "median length" if measure.kind is Property.LENGTH else "median"
            return f"{noun} {_median(measure, after)}, in training {_median(measure, before)} (KS {self.size:.2f})"
        changed = int((after - before).argmax())
        name = f"'{measure.names[changed][:40]}'" if measure.names[changed] else "other values"
        prefix = "" if measure.kind is Property.VALUE else f"{measure.kind.value} "
        return f"{prefix}{name} in {after[changed]:.0%} of the rows, in training {before[changed]:.0%}"


@dataclass(frozen=True)
class Drift:
    """The comparison of new rows with the training rows.

    Parameters
    ----------
    rows
        Number of new rows.
    differences
        The differences of all measures, by column. The most certain difference of each column comes first.
    """

    rows: int
    differences: tuple[Difference, ...]

    @property
    def columns(self) -> Mapping[str, Sequence[Difference]]:
        """The differences that count, by the name of the column. Columns without one are left out."""
        columns: dict[str, list[Difference]] = {}
        for each in self.differences:
            if each.differs:
                columns.setdefault(each.measure.column, []).append(each)
        return columns

    @property
    def sentence(self) -> str:
        """A sentence that names the columns that differ."""
        if self.rows < LEAST_ROWS:
            return f"{self.rows} rows are too few to compare with the training rows"
        if not self.columns:
            return f"no column of {self.rows:,} rows differs from the training rows"
        parts = [f"{column}: {differences[0].sentence}" for column, differences in self.columns.items()]
        columns = "1 column" if len(parts) == 1 else f"{len(parts)} columns"
        verb = "differs" if len(parts) == 1 else "differ"
        return f"{columns} of {self.rows:,} rows {verb} from the training rows: {'; '.join(parts)}"


def compare(sketches: Sketches, counts: Sequence[np.ndarray], rows: int) -> Drift:
    """Compare new rows with the training rows.

    Parameters
    ----------
    sketches
        The sketches of the training rows.
    counts
        Number of new rows in each bin, an array for each measure, see `count_bins`.
    rows
        Number of new rows.
    """
    if rows < LEAST_ROWS:
        return Drift(rows, ())
    generator = np.random.default_rng(_SEED)
    pairs = [(m, new) for m, new in zip(sketches.measures, counts, strict=True) if m.counts.sum() and new.sum()]
    differences = [_difference(measure, new, len(pairs), generator) for measure, new in pairs]
    chosen = certain([each.p_value for each in differences], LEVEL)
    marked = [
        Difference(each.measure, each.new, each.size, each.psi, each.p_value, is_certain and _is_large(each))
        for each, is_certain in zip(differences, chosen, strict=True)
    ]
    order = {column: number for number, column in enumerate(dict.fromkeys(each.measure.column for each in marked))}
    return Drift(rows, tuple(sorted(marked, key=lambda each: (order[each.measure.column], each.p_value, -each.size))))


def certain(p_values: Sequence[float], level: float) -> list[bool]:
    """Return whether each of several p-values is too small for chance at this level, with Holm's correction."""
    kept = [False] * len(p_values)
    for rank, number in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[number] * (len(p_values) - rank) > level:
            break
        kept[int(number)] = True
    return kept


def _is_large(difference: Difference) -> bool:
    return difference.size >= _LEAST.get(difference.measure.kind, _LEAST_OF_REST)


def _difference(measure: Measure, new: np.ndarray, tests: int, generator: np.random.Generator) -> Difference:
    before, after = _limited(measure.counts), _limited(new)
    size = _sizes(measure, before, after[None])[0]
    draws_needed = min(_MOST_DRAWS, int(2 * tests / LEVEL))
    p_value = _p_value(measure, before, after, draws_needed, generator)
    return Difference(measure, new, float(size), _psi(measure, before, after), p_value)


def _limited(counts: np.ndarray) -> np.ndarray:
    """Return the counts scaled down to at most a million rows. The shares stay the same."""
    total = int(counts.sum())
    return counts if total <= _MOST_ROWS else np.asarray(counts * (_MOST_ROWS / total)).astype(np.int64)


def _p_value(
    measure: Measure, before: np.ndarray, after: np.ndarray, most: int, generator: np.random.Generator
) -> float:
    """Return the share of random draws whose difference is at least as great as the observed difference.

    The observed difference counts as a draw, so the share is never 0. There are at most `most` draws.
    """
    together, rows = before + after, int(after.sum())
    observed = _statistics(measure, before, after[None])[0]
    if measure.kind is Property.NEW and _shares(after)[1] <= _shares(before)[1]:
        return 1.0  # fewer new values than expected are not a sign of drift
    draws, exceeding = 0, 0
    while draws < most and exceeding < _ENOUGH:
        count = min(most - draws, max(_DRAWS, draws))
        drawn = generator.multivariate_hypergeometric(together, rows, size=count, method="marginals")
        exceeding += int((_statistics(measure, together - drawn, drawn) >= observed - 1e-12).sum())
        draws += count
    return (exceeding + 1) / (draws + 1)


def _statistics(measure: Measure, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return a number for each of several tables that grows with the difference, float64 (tables,).

    `before` has the counts of training rows, (bins,) or (tables, bins). `after` has those of new rows, (tables, bins).
    """
    if measure.is_ordered:
        return _sizes(measure, before, after)
    # The chi-squared statistic of two lines, without the factors that all draws share.
    together = np.maximum(before + after, 1)
    expected = together * (after.sum(axis=-1, keepdims=True) / together.sum(axis=-1, keepdims=True))
    return np.asarray(((after - expected) ** 2 / np.maximum(expected, 1e-12)).sum(axis=-1))


def _sizes(measure: Measure, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    differences = _shares(before) - _shares(after)
    if measure.is_ordered:
        return np.asarray(np.abs(np.cumsum(differences, axis=-1)).max(axis=-1))
    return np.asarray(np.abs(differences).sum(axis=-1) / 2)


def _shares(counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1))


def _psi(measure: Measure, before: np.ndarray, after: np.ndarray) -> float:
    """Return the population stability index. Ordered bins are joined to ten. Half a row is added to each bin."""
    if measure.is_ordered:
        levels = np.floor(np.clip(_shares(before).cumsum(), 0, 1 - 1e-9) * _PSI_BINS).astype(int)
        before, after = (np.bincount(levels, weights=counts) for counts in (before, after))
    a, b = _shares(before + 0.5), _shares(after + 0.5)
    return float(((b - a) * np.log(b / a)).sum())


def _median(measure: Measure, shares: np.ndarray) -> str:
    """Return the upper end of the bin that contains the median, in words."""
    place = int(np.searchsorted(shares.cumsum(), 0.5 - 1e-9))
    if place >= len(measure.edges):
        return f"above {measure.edges[-1]:.6g}"
    return f"{measure.edges[place]:.6g}"
