"""Logs the progress of the fits: the branch that is being fitted, the time so far, and the time that is left."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from types import TracebackType

from multimodal_algo.core.budget import Budget

_LOG = logging.getLogger(__name__)

_EVERY_S = 30.0


class FitProgress:
    """A context that logs the progress of the fits of branches: when a fit begins or ends, and every 30 s.

    Parameters
    ----------
    efforts
        Relative effort of each branch that will be fitted, by name of the branch.
    finished
        Number of branches that a previous start of the job has fitted already.
    budget
        The time for the fits.
    """

    def __init__(self, efforts: Mapping[str, float], finished: int, budget: Budget) -> None:
        self._efforts = dict(efforts)
        self._restored = finished
        self._budget = budget
        self._started = time.monotonic()
        # The branches that are fitted now, with the time at which each began.
        self._running: dict[str, float] = {}
        self._fitted: list[str] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="fit-progress", daemon=True)

    def __enter__(self) -> FitProgress:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()

    def begin(self, name: str) -> None:
        """Note that the fit of a branch begins. It is logged if no other branch is being fitted at the same time."""
        self._running[name] = time.monotonic()
        if len(self._running) == 1:
            _LOG.info("%s", self.sentence())

    def finish(self, name: str) -> None:
        """Note that the fit of a branch is finished. It is logged if other branches are still being fitted."""
        self._running.pop(name, None)
        self._fitted.append(name)
        if self._running:
            _LOG.info("%s", self.sentence())

    def sentence(self) -> str:
        """Return the progress, for example ``branch 3 of 6 (text), 40 s, about 2 min left``."""
        running = dict(self._running)
        total, fitted = self._restored + len(self._efforts), self._restored + len(self._fitted)
        if len(running) == 1:
            ((name, began),) = running.items()
            what, seconds = f"branch {fitted + 1} of {total} ({name})", time.monotonic() - began
        else:
            what, seconds = f"{fitted} of {total} branches", time.monotonic() - self._started
        return f"{what}, {duration(seconds)}, {self._left()} left"

    def _left(self) -> str:
        """Return the time that is left, in words.

        It is estimated from the time of the finished fits. Before the first fit is finished, it is the whole budget.
        """
        most_s = self._budget.remaining_s
        done = sum(self._efforts.get(name, 0.0) for name in self._fitted)
        if not done:
            return f"at most {duration(most_s)}"
        elapsed = time.monotonic() - self._started
        expected = elapsed * (sum(self._efforts.values()) / done) - elapsed
        return f"about {duration(min(most_s, expected))}"

    def _repeat(self) -> None:
        while not self._end.wait(_EVERY_S):
            if self._running:
                _LOG.info("%s", self.sentence())


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours, whichever suits it: ``40 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f"{max(seconds, 0.0):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
