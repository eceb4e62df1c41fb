"""The checks of a rehearsal, and their results."""

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
        What was checked: something that the request declares.
    is_ok
        Whether it is true.
    message
        What was observed, or what is wrong.
    seconds
        Seconds that the check took.
    """

    name: str
    is_ok: bool
    message: str = ""
    seconds: float = 0.0

    @property
    def line(self) -> str:
        """The result as a line for the terminal."""
        took = f" ({self.seconds:.0f} s)" if self.seconds >= 1 else ""
        return f"{'ok   ' if self.is_ok else 'FAULT'} {self.name}{': ' if self.message else ''}{self.message}{took}"


class Fault(MultimodalError):
    """Error: something that the request declares is not true. The message says what was observed."""


@dataclass
class Findings:
    """The results of all checks of a rehearsal, in order.

    Parameters
    ----------
    report
        Shows a line to the user. It is called after each check.
    checks
        Results of the checks so far.
    """

    report: Callable[[str], object] = print
    checks: list[Check] = field(default_factory=list)

    @property
    def faults(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if not check.is_ok]

    @contextmanager
    def check(self, name: str) -> Iterator[list[str]]:
        """Run the block as a check called `name`. If it raises a `MultimodalError`, the check has failed.

        Parameters
        ----------
        name
            What is checked.

        Yields
        ------
        list of str
            List to which the block adds what it observes.
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
        """Write the results of all checks as JSON."""
        path.write_text(json.dumps([asdict(check) for check in self.checks], indent=2) + "\n", encoding="utf-8")

    def _add(self, check: Check) -> None:
        self.checks.append(check)
        self.report(check.line)
