"""Measures the memory that this process may still use, and shares it among threads.

A container may use less memory than the machine has. So the container's limit is read too.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_UNLIMITED = 1 << 60
_VERSIONS = (
    # Files with limit, usage and statistics, and the name of the reclaimable part: control groups version 2, then 1.
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def available_bytes(control_groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many more bytes this process can use, within the machine's memory and the container's limit."""
    free = 1024 * _statistic(Path("/proc/meminfo"), "MemAvailable:")
    for limit_file, usage_file, statistics_file, reclaimable in _VERSIONS:
        limit = _number(control_groups / limit_file)
        usage = _number(control_groups / usage_file)
        if limit is None or usage is None or limit >= _UNLIMITED:
            continue
        cached = _statistic(control_groups / statistics_file, reclaimable)
        free = min(free, max(0, limit - usage + cached))
    return free


def out_of_memory_kills(control_groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many processes the system has killed because the container reached its memory limit."""
    files = (control_groups / "memory.events", control_groups / "memory/memory.oom_control")
    return max(_statistic(file, "oom_kill") for file in files)


def limit_autogluon_memory() -> None:
    """Set ``AG_MEMORY_LIMIT_IN_GB`` to the container's memory limit. AutoGluon then skips models that would not fit."""
    resident = 1024 * _statistic(Path("/proc/self/status"), "VmRSS:")
    os.environ.setdefault("AG_MEMORY_LIMIT_IN_GB", f"{(available_bytes() + resident) / 1024**3:.2f}")


class MemoryGate:
    """A fixed amount of memory that threads share. A thread reserves bytes, and waits until enough are free.

    A thread must not reserve more while it holds some. Otherwise two threads could wait for each other for ever.

    Parameters
    ----------
    total
        Number of bytes that all threads together may hold.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._changed = threading.Condition()

    def take(self, size: int, *, waits: bool = True) -> bool:
        """Reserve `size` bytes, at most `total`.

        Wait until they are free, or return False at once if `waits` is False.
        """
        size = min(size, self.total)
        with self._changed:
            if not waits and self._free < size:
                return False
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
            return True

    def give_back(self, size: int) -> None:
        """Free bytes that `take` has reserved."""
        with self._changed:
            self._free += min(size, self.total)
            self._changed.notify_all()

    @contextmanager
    def holding(self, size: int) -> Iterator[Hold]:
        """Reserve `size` bytes for the duration of a ``with`` block. Wait until they are free."""
        self.take(size)
        hold = Hold(self, min(size, self.total))
        try:
            yield hold
        finally:
            hold.only(0)


class Hold:
    """The bytes of memory that one thread has reserved from a `MemoryGate`."""

    def __init__(self, gate: MemoryGate, size: int) -> None:
        self._gate = gate
        self._size = size

    def only(self, size: int | None) -> None:
        """Keep `size` of the reserved bytes and free the others. None keeps all."""
        if size is not None and size < self._size:
            self._gate.give_back(self._size - size)
            self._size = size


def return_freed_memory() -> None:
    """Return freed memory from this process to the system. The C library otherwise keeps much of it for later use."""
    with suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _statistic(path: Path, name: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0)
