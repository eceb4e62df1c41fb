"""Novelty: how unlike the training rows a row is, as the share of training rows that are less unlike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multimodal_algo.monitoring.sketches import NO_BIN, Measure, Property, Sketches

STEPS = 101


class Novelty:
    """Returns the novelty of rows.

    A row is surprising in a measure by the logarithm of the share of training rows that lie as far outside, or have a
    value that is as rare. Squares are added up, so that one very strange cell counts more than many that are a little
    strange. The rank among training rows that the bins were not made from makes the sum a number from 0 to 1.

    Parameters
    ----------
    measures
        The measures.
    ranks
        See `Sketches.ranks`.
    own_rows
        Whether the rows are among those that the measures count. Each is then compared with the rest of them.
    """

    def __init__(self, measures: Sequence[Measure], ranks: np.ndarray, *, own_rows: bool = False) -> None:
        # A language may be known for some rows alone, and new values are the rarest ones already.
        self._used = [n for n, each in enumerate(measures) if each.kind is not Property.LANGUAGE]
        self._tables = np.zeros((len(self._used), 256))
        for row, number in enumerate(self._used):
            surprise = _surprise(measures[number], int(own_rows))
            self._tables[row, : len(surprise)] = surprise**2
        self._tables[:, NO_BIN] = 0.0
        self._ranks = ranks

    @classmethod
    def of(cls, sketches: Sketches) -> Novelty:
        """Return the novelty by an artifact's sketches."""
        return cls(sketches.measures, sketches.ranks)

    def distances(self, bins: np.ndarray) -> np.ndarray:
        """Return the sums of squared surprise, float64 (rows,), from the bins of `Meter.bins`."""
        if not self._used:
            return np.zeros(len(bins))
        return np.asarray(self._tables[np.arange(len(self._used)), bins[:, self._used]].sum(axis=1))

    def __call__(self, bins: np.ndarray) -> np.ndarray:
        """Return the novelty of rows, float64 (rows,), from 0 to 1, from the bins of `Meter.bins`."""
        distances = self.distances(bins)
        steps = np.linspace(0.0, 1.0, len(self._ranks))
        return np.asarray(np.interp(distances, self._ranks, steps))


def ranks_of(distances: np.ndarray) -> np.ndarray:
    """Return the distances at equal steps of their rank, float64 (101,)."""
    return np.asarray(np.quantile(distances, np.linspace(0, 1, STEPS))) if len(distances) else np.zeros(STEPS)


def _surprise(measure: Measure, own: int) -> np.ndarray:
    """Return the surprise of each bin, float64 (bins,). `own` rows of a bin are those that are compared."""
    counts = measure.counts.astype(np.float64)
    total = max(1.0, counts.sum() + 1.0 - own)
    if measure.is_ordered:
        # The share of rows that lie as far outside on this side, of half of all rows.
        below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
        shares = np.minimum(1.0, 2 * (np.minimum(below, above) - own) / total)
    else:
        shares = (np.array([counts[counts <= count].sum() for count in counts]) - own) / total
    return -np.log(np.maximum(shares, 1.0 / total))
