"""Where long work keeps what it has done, so that a job that starts again goes on from there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

Write = Callable[[Path], None]
"""Writes the files of a part into the directory that it is given."""


class CheckpointStore(Protocol):
    """Keeps whole parts by name: after `keep` a part is found by every later start of the same job, or not at all."""

    def find(self, name: str) -> Path | None:
        """The directory of a part that was kept; None where there is none. Nothing in it may be changed."""
        ...

    def keep(self, name: str, write: Write) -> Path:
        """Keep what `write` writes, in place of any part of that name; returns the part's directory."""
        ...

    def names(self, under: str) -> list[str]:
        """The names of whole parts directly below a name, without it."""
        ...

    def drop(self, name: str) -> None:
        """Forget the part, and all whose names begin with its name and a slash."""
        ...


class Stopped(BaseException):
    """Work ended on a `StopRequest`, with its state kept. No error: it must reach whoever can end the process."""


class StopRequest:
    """The wish that the process ends soon. What can flush its work listens; all else may be cut off at any instant."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._flushed = threading.Event()
        self._flushed.set()

    @property
    def is_asked(self) -> bool:
        """Whether to flush and leave `listening` now."""
        return self._asked.is_set()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While inside, whoever asks for the end waits for the work to be flushed."""
        self._flushed.clear()
        try:
            yield
        finally:
            self._flushed.set()

    def ask(self, timeout_s: float) -> None:
        """Ask for the end; returns when nothing is left to flush, or after `timeout_s` seconds."""
        self._asked.set()
        self._flushed.wait(timeout_s)
