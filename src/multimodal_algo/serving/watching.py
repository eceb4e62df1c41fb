"""Counts the rows that a server answers. At its end, the server logs which columns differ from the training rows."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from multimodal_algo.ingest.features import Features
from multimodal_algo.monitoring.comparison import LEAST_ROWS, compare
from multimodal_algo.monitoring.measuring import Meter, count_bins

if TYPE_CHECKING:
    from multimodal_algo.ingest.categories import KnownCategories
    from multimodal_algo.monitoring.sketches import Sketches

_LOG = logging.getLogger(__name__)

# Rows are collected, and counted when there are this many.
_ROWS_AT_ONCE = 64
# From this number of rows on, one row of ten is counted.
_ALL_ROWS, _THINNED = 10_000, 10


class RowWatch:
    """Counts the answered rows in the bins of the sketches, to compare them with the training rows.

    Parameters
    ----------
    sketches
        The sketches of the training rows.
    known
        Values of categories that training saw. None if they are not known.
    """

    def __init__(self, sketches: Sketches, known: KnownCategories | None) -> None:
        self._sketches = sketches
        self._meter = Meter.of(sketches, known)
        self._counts = [0 * measure.counts for measure in sketches.measures]
        self._lock = threading.Lock()
        self._waiting: list[Features] = []
        self._waiting_rows = self._rows = self._seen = 0
        self._is_broken = False

    def add(self, features: Features) -> None:
        """Count rows that were answered. An error is logged and not raised, because the rows have their answers."""
        self._seen += len(features)
        if self._is_broken or (self._rows >= _ALL_ROWS and self._seen // _ROWS_AT_ONCE % _THINNED):
            return
        with self._lock:
            self._waiting.append(features)
            self._waiting_rows += len(features)
            if self._waiting_rows >= _ROWS_AT_ONCE:
                self._count()

    def _count(self) -> None:
        try:
            features = Features.joined([replace(part, pictures={}) for part in self._waiting])
            counts = count_bins(self._meter.bins(features), self._sketches.measures)
            self._counts = [total + new for total, new in zip(self._counts, counts, strict=True)]
            self._rows += len(features)
        except Exception:
            self._is_broken = True
            _LOG.exception("answered rows are not compared with the training rows: a bug")
        self._waiting, self._waiting_rows = [], 0

    def sentence(self) -> str | None:
        """Return a sentence about the columns that differ from the training rows. Return None if rows are too few."""
        with self._lock:
            if self._waiting:
                self._count()
            if self._is_broken or self._rows < LEAST_ROWS:
                return None
            return compare(self._sketches, self._counts, self._rows).sentence
