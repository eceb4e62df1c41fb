"""Progress of a command: a bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from types import TracebackType

_LINE_EVERY_S = 5.0


class Progress:
    """How far something is; use it as a context.

    Parameters
    ----------
    what
        Is under way.
    noun
        What is counted.
    total
        Of what is worked through, in any unit; None where it is not known.

    Attributes
    ----------
    count, done
        How many were counted, and how much of the total that was.
    """

    def __init__(self, what: str, noun: str, total: int | None) -> None:
        self._what, self._noun, self._total = what, noun, total
        self.count = self.done = 0
        self._started = self._told = time.monotonic()
        self._bar = None
        if sys.stdout.isatty():
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            counted = TextColumn(f"{{task.fields[count]}} {noun}")
            self._bar = Bar(TextColumn(what), BarColumn(), TaskProgressColumn(), counted, TimeRemainingColumn())
            self._task = self._bar.add_task(what, total=total, count=0)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._started

    def at(self, count: int, done: int) -> None:
        """Note that `count` are counted, which were `done` of the total."""
        self.count, self.done = count, done
        if self._bar is not None:
            self._bar.update(self._task, completed=done, count=count)
        elif (now := time.monotonic()) - self._told >= _LINE_EVERY_S:
            self._told = now
            share = f", {done / self._total:.0%}" if self._total else ""
            rate = count / (now - self._started)
            print(f"{self._what}: {count} {self._noun}{share}, {rate:.0f} {self._noun}/s", flush=True)
