"""Logs how far the reading of a channel is: a line after five seconds, and then one every ten seconds."""

from __future__ import annotations

import logging
import time

_LOG = logging.getLogger(__name__)

# The first line is an estimate of the whole, because the budget of a job does not count the reading.
_FIRST_S, _EVERY_S = 5.0, 10.0


class Progress:
    """Counts rows, images and bytes that were read, and logs how far the reading is.

    Parameters
    ----------
    total_bytes
        Size of all files. With 0 the size is unknown, and the remaining time is not estimated.
    """

    def __init__(self, total_bytes: int) -> None:
        self._total = total_bytes
        self._started = self._logged = time.monotonic()
        self._rows = 0
        self._images = 0

    def rows(self, rows: int, images: int) -> None:
        """Count rows that are finished, and their images."""
        self._rows += rows
        self._images += images

    def at(self, offset: int) -> None:
        """Set the number of bytes that were read so far. Log a line if it is time for one."""
        now = time.monotonic()
        if now - self._logged < (_FIRST_S if self._logged == self._started else _EVERY_S) or not self._rows:
            return
        self._logged = now
        seconds = now - self._started
        rest = ""
        if self._total and offset:
            share = min(offset / self._total, 1.0)
            rest = f", {share:.0%}, about {seconds * (1 - share) / share:.0f} s to go"
        images = f", {self._images / seconds:.0f} images/s" if self._images else ""
        _LOG.info("ingest: %d rows, %.0f rows/s%s%s", self._rows, self._rows / seconds, images, rest)
