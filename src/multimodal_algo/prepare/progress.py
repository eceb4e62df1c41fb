"""Progress of a preparation: a bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_LINE_EVERY_S = 5.0


class PrepareProgress:
    """Counts written rows; use it as a context.

    Parameters
    ----------
    total
        Of what is read, in any unit; 0 where it is not known.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._started = self._told = time.monotonic()
        self._bar: Progress | None = None
        if sys.stdout.isatty():
            self._bar = Progress(
                TextColumn("prepare"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rows]} rows"),
                TimeRemainingColumn(),
            )  # fmt: skip
            self._task = self._bar.add_task("prepare", total=total or None, rows=0)

    def __enter__(self) -> PrepareProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def at(self, rows: int, done: int) -> None:
        """Note that `rows` are written, which were `done` of the total."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, rows=rows)
        elif (now := time.monotonic()) - self._told >= _LINE_EVERY_S:
            self._told = now
            share = f", {done / self._total:.0%}" if self._total else ""
            print(f"prepare: {rows} rows{share}, {rows / (now - self._started):.0f} rows/s", flush=True)
