"""Novelty of a row: how unusual it is, given as the share of the training rows that are less unusual."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multimodal_algo.monitoring.sketches import NO_BIN, Measure, Property, Sketches

STEPS = 101


class Novelty:
    """Computes the novelty of rows from their bins.

    The surprise of a row in one measure is minus the logarithm of a share: the share of training rows that lie at least
    as far outside, or have a value that is at least as rare. The squares of the surprises in all measures are added, so
    one very strange cell counts more than many slightly strange cells. The rank of this sum among the sums of training
    rows is the novelty, a number from 0 to 1. The bins were not made from these training rows.

    Parameters
    ----------
    measures
        The measures with the counts of training rows.
    ranks
        Sums of squared surprise of training rows at equal steps of their rank, see `Sketches.ranks`.
    own_rows
        Whether the rows are themselves counted in the measures. A row is then compared with the other rows alone.
    """

    def __init__(self, measures: Sequence[Measure], ranks: np.ndarray, *, own_rows: bool = False) -> None:
        # Languages are left out, because they are known for only some rows.
        self._used = [n for n, each in enumerate(measures) if each.kind is not Property.LANGUAGE]
        self._tables = np.zeros((len(self._used), 256))
        for row, number in enumerate(self._used):
            surprise = _surprise(measures[number], int(own_rows))
            self._tables[row, : len(surprise)] = surprise**2
        self._tables[:, NO_BIN] = 0.0
        self._ranks = ranks

    @classmethod
    def of(cls, sketches: Sketches) -> Novelty:
        """Return the novelty that compares rows with an artifact's sketches."""
        return cls(sketches.measures, sketches.ranks)

    def distances(self, bins: np.ndarray) -> np.ndarray:
        """Return the sum of squared surprises of each row, float64 (rows,). `bins` come from `Meter.bins`."""
        if not self._used:
            return np.zeros(len(bins))
        return np.asarray(self._tables[np.arange(len(self._used)), bins[:, self._used]].sum(axis=1))

    def __call__(self, bins: np.ndarray) -> np.ndarray:
        """Return the novelty of each row, float64 (rows,), from 0 to 1. `bins` come from `Meter.bins`."""
        distances = self.distances(bins)
        steps = np.linspace(0.0, 1.0, len(self._ranks))
        return np.asarray(np.interp(distances, self._ranks, steps))


def ranks_of(distances: np.ndarray) -> np.ndarray:
    """Return the quantiles of distances at 0 %, 1 % and so on to 100 %, float64 (101,). Zeros without distances."""
    return np.asarray(np.quantile(distances, np.linspace(0, 1, STEPS))) if len(distances) else np.zeros(STEPS)


def _surprise(measure: Measure, own: int) -> np.ndarray:
    """Return the surprise of each bin, float64 (bins,). `own` is 1 if a compared row is in the counts, otherwise 0."""
    counts = measure.counts.astype(np.float64)
    total = max(1.0, counts.sum() + 1.0 - own)
    if measure.is_ordered:
        # The share of rows that lie at least as far outside on this side, times 2 for the two sides.
        below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
        shares = np.minimum(1.0, 2 * (np.minimum(below, above) - own) / total)
    else:
        shares = (np.array([counts[counts <= count].sum() for count in counts]) - own) / total
    return -np.log(np.maximum(shares, 1.0 / total))
