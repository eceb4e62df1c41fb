"""Shows how far a command is: a bar on a terminal, otherwise a line every 5 s."""

from __future__ import annotations

import sys
import time
from types import TracebackType

_LINE_EVERY_S = 5.0


class Progress:
    """Shows how far a command is, as a context manager.

    Parameters
    ----------
    what
        Name of the command, for example ``transform``.
    noun
        Name of the counted things in the plural, for example ``records``.
    total
        Size of the whole work in any unit, for example bytes. None if it is not known.

    Attributes
    ----------
    count
        Number of things processed up to now.
    done
        Processed share of `total`, in the same unit.
    """

    def __init__(self, what: str, noun: str, total: int | None) -> None:
        self._what, self._noun, self._total = what, noun, total
        self.count = self.done = 0
        self._started = self._last_line_s = time.monotonic()
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
        """Seconds since the command started."""
        return time.monotonic() - self._started

    def at(self, count: int, done: int) -> None:
        """Show that `count` things, and `done` of the total, are processed."""
        self.count, self.done = count, done
        if self._bar is not None:
            self._bar.update(self._task, completed=done, count=count)
        elif (now := time.monotonic()) - self._last_line_s >= _LINE_EVERY_S:
            self._last_line_s = now
            share = f", {done / self._total:.0%}" if self._total else ""
            rate = count / (now - self._started)
            print(f"{self._what}: {count} {self._noun}{share}, {rate:.0f} {self._noun}/s", flush=True)
