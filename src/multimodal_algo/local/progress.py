"""Progress of a transform: a bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_EVERY_S = 5.0


class TransformProgress:
    """Counts answered records and bytes of one job; use it as a context.

    Parameters
    ----------
    total_bytes
        Size of all its files; None where only decompression tells it.
    """

    def __init__(self, total_bytes: int | None) -> None:
        self._total = total_bytes
        self._bytes = 0
        self.records = 0
        self._started = self._told = time.monotonic()
        self._bar: Progress | None = None
        if sys.stdout.isatty():
            self._bar = Progress(
                TextColumn("transform"), BarColumn(), DownloadColumn(), TextColumn("{task.fields[records]} records"),
                TimeRemainingColumn(),
            )  # fmt: skip
            self._task = self._bar.add_task("transform", total=total_bytes, records=0)

    def __enter__(self) -> TransformProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def seconds(self) -> float:
        """Seconds since the first request."""
        return time.monotonic() - self._started

    def answered(self, records: int, size: int) -> None:
        """Note one answered payload."""
        self.records += records
        self._bytes += size
        if self._bar is not None:
            self._bar.update(self._task, completed=self._bytes, records=self.records)
        elif time.monotonic() - self._told >= _LINE_EVERY_S:
            self._told = time.monotonic()
            share = "" if self._total is None else f"{self._bytes / max(self._total, 1):.0%}, "
            print(f"transform: {self.records} records, {share}{self.records / self.seconds:.0f} records/s", flush=True)
