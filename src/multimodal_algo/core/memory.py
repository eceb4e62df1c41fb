"""Measures the memory that this process may still use, and shares it among threads.

The figures of the machine do not show a container's limit.
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
    """Return the bytes that are available before the machine's memory or the container's limit is used up."""
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
    """Return the number of processes that the system has killed because the container's memory was used up."""
    files = (control_groups / "memory.events", control_groups / "memory/memory.oom_control")
    return max(_statistic(file, "oom_kill") for file in files)


def limit_autogluon_memory() -> None:
    """Set ``AG_MEMORY_LIMIT_IN_GB`` to the container's limit, so that AutoGluon skips models that would not fit."""
    resident = 1024 * _statistic(Path("/proc/self/status"), "VmRSS:")
    os.environ.setdefault("AG_MEMORY_LIMIT_IN_GB", f"{(available_bytes() + resident) / 1024**3:.2f}")


class MemoryGate:
    """An amount of memory of which threads take parts. They wait while there is too little of it.

    A thread that holds a part does not wait for another one. Otherwise threads could wait for each other.

    Parameters
    ----------
    total
        Number of bytes.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._changed = threading.Condition()

    def take(self, size: int, *, waits: bool = True) -> bool:
        """Take bytes, at most `total`. Return False where there are too few, and `waits` is False."""
        size = min(size, self.total)
        with self._changed:
            if not waits and self._free < size:
                return False
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
            return True

    def give_back(self, size: int) -> None:
        """Give back bytes that were taken."""
        with self._changed:
            self._free += min(size, self.total)
            self._changed.notify_all()

    @contextmanager
    def holding(self, size: int) -> Iterator[Hold]:
        """Reserve bytes of the memory while the context is open. See `take` for when it waits."""
        self.take(size)
        hold = Hold(self, min(size, self.total))
        try:
            yield hold
        finally:
            hold.only(0)


class Hold:
    """Bytes that a thread has taken from a gate."""

    def __init__(self, gate: MemoryGate, size: int) -> None:
        self._gate = gate
        self._size = size

    def only(self, size: int | None) -> None:
        """Give back all but `size` bytes. None keeps them."""
        if size is not None and size < self._size:
            self._gate.give_back(self._size - size)
            self._size = size


def return_freed_memory() -> None:
    """Return memory that was freed to the system. The C library otherwise keeps much of it for later."""
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
