"""Checkpoints of long tasks, from which a job that starts again goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

Write = Callable[[Path], None]
"""Writes the files of a part into the directory that it is given."""


class CheckpointStore(Protocol):
    """Saves finished parts by name.

    A job may be killed at any instant. Later starts of the same job find a part whole, or they do not find it.
    """

    def find(self, name: str) -> Path | None:
        """Return the directory of a saved part, or None. Its files must not be changed."""
        ...

    def save(self, name: str, write: Write) -> Path:
        """Save the files that `write` writes, in place of a part of the same name. Return the part's directory."""
        ...

    def names(self, under: str) -> list[str]:
        """Return the names of the whole parts directly below the name `under`, without `under`."""
        ...

    def drop(self, name: str) -> None:
        """Remove the part, and all parts whose names begin with its name and a slash."""
        ...


class Stopped(BaseException):
    """A fit ended on a `StopRequest`, and its state is saved.

    It is not an error, so it is not an `Exception`: it must reach the code that ends the process.
    """


class StopRequest:
    """A request that the process ends soon.

    A fit that can save its state listens to it. Everything else may be cut off at any instant.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._flushed = threading.Event()
        self._flushed.set()

    @property
    def is_asked(self) -> bool:
        """Whether the end was requested: the fit must save its state now, and leave the context of `listening`."""
        return self._asked.is_set()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Make `ask` wait until the block is left."""
        self._flushed.clear()
        try:
            yield
        finally:
            self._flushed.set()

    def ask(self, timeout_s: float) -> None:
        """Ask for the end. Return when every state is saved, or after `timeout_s` seconds."""
        self._asked.set()
        self._flushed.wait(timeout_s)
