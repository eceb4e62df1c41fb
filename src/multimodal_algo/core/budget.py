"""The wall-clock time that fitting may take, and how steps share it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

Clock = Callable[[], float]


@dataclass(frozen=True)
class Budget:
    """A deadline for fitting. A step gets a share of the remaining time.

    Time that it does not use stays for later steps.

    Parameters
    ----------
    deadline_s
        Time of `clock` at which the budget ends, in seconds.
    clock
        Function that returns the time in seconds. The default does not jump when the clock of the machine is set.
    """

    deadline_s: float
    clock: Clock = field(default=time.monotonic, repr=False)

    @classmethod
    def starting_now(cls, total_s: float, clock: Clock = time.monotonic) -> Budget:
        """Return a budget of `total_s` seconds from now."""
        return cls(clock() + total_s, clock)

    @property
    def remaining_s(self) -> float:
        """The seconds until the deadline, 0 after it."""
        return max(0.0, self.deadline_s - self.clock())

    def share(self, part: float, whole: float) -> Budget:
        """Return a budget that starts now and has ``part / whole`` of the remaining time."""
        return Budget(self.clock() + self.remaining_s * part / whole, self.clock)
