"""Measures the memory that this process may still use. The figures of the machine do not show a container's limit."""

from __future__ import annotations

import os
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


def limit_autogluon_memory() -> None:
    """Set ``AG_MEMORY_LIMIT_IN_GB`` to the container's limit, so that AutoGluon skips models that would not fit."""
    resident = 1024 * _statistic(Path("/proc/self/status"), "VmRSS:")
    os.environ.setdefault("AG_MEMORY_LIMIT_IN_GB", f"{(available_bytes() + resident) / 1024**3:.2f}")


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
