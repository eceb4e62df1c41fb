"""What a rehearsal finds, and how it is told."""

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
    """One promise that was tried.

    Parameters
    ----------
    name
        What was tried.
    is_ok
        Whether it holds.
    told
        What was seen.
    seconds
        How long it took.
    """

    name: str
    is_ok: bool
    told: str = ""
    seconds: float = 0.0

    @property
    def line(self) -> str:
        """For the terminal."""
        took = f" ({self.seconds:.0f} s)" if self.seconds >= 1 else ""
        return f"{'ok   ' if self.is_ok else 'FAULT'} {self.name}{': ' if self.told else ''}{self.told}{took}"


class Fault(MultimodalError):
    """A promise that does not hold; the message is what was seen."""


@dataclass
class Findings:
    """The checks of a rehearsal, in order, each told as soon as it is known."""

    tell: Callable[[str], object] = print
    checks: list[Check] = field(default_factory=list)

    @property
    def faults(self) -> list[Check]:
        """Those that do not hold."""
        return [check for check in self.checks if not check.is_ok]

    @contextmanager
    def check(self, name: str) -> Iterator[list[str]]:
        """Try something: a `MultimodalError` inside is a fault. What is put into the list is told."""
        seen: list[str] = []
        began = time.monotonic()
        try:
            yield seen
        except MultimodalError as error:
            self._note(Check(name, False, str(error), time.monotonic() - began))
        else:
            self._note(Check(name, True, ", ".join(seen), time.monotonic() - began))

    def write(self, path: Path) -> None:
        """Write all checks as JSON."""
        path.write_text(json.dumps([asdict(check) for check in self.checks], indent=2) + "\n", encoding="utf-8")

    def _note(self, check: Check) -> None:
        self.checks.append(check)
        self.tell(check.line)
