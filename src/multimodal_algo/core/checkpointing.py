"""Checkpoints of long tasks. A job that was stopped and starts again goes on from them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

Write = Callable[[Path], None]
"""Writes the files of a part into the directory that it is given."""


class CheckpointStore(Protocol):
    """Saves finished parts of a job, each as a directory of files under a name.

    A job may be killed at any instant. Its next start finds either the whole part or nothing.
    """

    def find(self, name: str) -> Path | None:
        """Return the directory of a saved part, or None. The caller must not change the files in it."""
        ...

    def save(self, name: str, write: Write) -> Path:
        """Let `write` fill the directory of a part, and save it under `name`. A part that has this name is replaced.

        Return the saved directory.
        """
        ...

    def names(self, under: str) -> list[str]:
        """Return the names of the saved parts directly below `under`, without the beginning `under`."""
        ...

    def drop(self, name: str) -> None:
        """Remove the part `name`, and all parts below it: their names begin with `name` and a slash."""
        ...


class Stopped(BaseException):
    """Raised by a fit that has ended on a `StopRequest` and has saved its state.

    This is not an error, so it is not an `Exception`: code that handles errors must not catch it.
    """


class StopRequest:
    """A request that the process ends soon, for example because a spot instance is taken away.

    A fit that can save its state checks `is_asked`. Everything else may be cut off at any instant.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._flushed = threading.Event()
        self._flushed.set()

    @property
    def is_asked(self) -> bool:
        """Whether the end of the process was requested.

        If so, a fit must save its state and leave its `listening` block.
        """
        return self._asked.is_set()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Make `ask` wait while this block runs, so that a fit inside can save its state."""
        self._flushed.clear()
        try:
            yield
        finally:
            self._flushed.set()

    def ask(self, timeout_s: float) -> None:
        """Request the end of the process. Return when all `listening` blocks are left, or after `timeout_s` seconds."""
        self._asked.set()
        self._flushed.wait(timeout_s)
