"""The wall clock of fitting, and its shares."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

Clock = Callable[[], float]


@dataclass(frozen=True)
class Budget:
    """A deadline. Time that a share leaves unused stays with the whole, so it is handed on by itself.

    Parameters
    ----------
    deadline_s
        When it ends, on `clock`, in seconds.
    """

    deadline_s: float
    clock: Clock = field(default=time.monotonic, repr=False)

    @classmethod
    def starting_now(cls, total_s: float, clock: Clock = time.monotonic) -> Budget:
        """A budget of `total_s` seconds from this moment."""
        return cls(clock() + total_s, clock)

    @property
    def remaining_s(self) -> float:
        """Seconds left; 0 when it is spent."""
        return max(0.0, self.deadline_s - self.clock())

    def share(self, part: float, whole: float) -> Budget:
        """A budget that ends after `part` of `whole` of what is left now."""
        return Budget(self.clock() + self.remaining_s * part / whole, self.clock)
