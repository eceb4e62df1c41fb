"""The checks of a rehearsal and their results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from multimodal_algo.core.errors import MultimodalError


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Parameters
    ----------
    name
        Promise that was checked.
    is_ok
        Whether the promise holds.
    message
        Observation, or the fault.
    seconds
        Time that the check took.
    """

    name: str
    is_ok: bool
    message: str = ""
    seconds: float = 0.0

    @property
    def line(self) -> str:
        """The line for the terminal."""
        took = f" ({self.seconds:.0f} s)" if self.seconds >= 1 else ""
        return f"{'ok   ' if self.is_ok else 'FAULT'} {self.name}{': ' if self.message else ''}{self.message}{took}"


class Fault(MultimodalError):
    """A promise that does not hold. The message is the observation."""


@dataclass
class Findings:
    """The results of a rehearsal's checks, in order.

    Parameters
    ----------
    report
        Function that shows a line to the user. Each check is shown as soon as it is done.
    checks
        Results so far.
    """

    report: Callable[[str], object] = print
    checks: list[Check] = field(default_factory=list)

    @property
    def faults(self) -> list[Check]:
        """The checks whose promise does not hold."""
        return [check for check in self.checks if not check.is_ok]

    @contextmanager
    def check(self, name: str) -> Iterator[list[str]]:
        """Check a promise in the block. A `MultimodalError` in the block is a fault.

        Parameters
        ----------
        name
            Promise to check.

        Yields
        ------
        list of str
            List to which the block adds its observations.
        """
        observations: list[str] = []
        began = time.monotonic()
        try:
            yield observations
        except MultimodalError as error:
            self._add(Check(name, False, str(error), time.monotonic() - began))
        else:
            self._add(Check(name, True, ", ".join(observations), time.monotonic() - began))

    def write(self, path: Path) -> None:
        """Write all checks as JSON."""
        path.write_text(json.dumps([asdict(check) for check in self.checks], indent=2) + "\n", encoding="utf-8")

    def _add(self, check: Check) -> None:
        self.checks.append(check)
        self.report(check.line)
