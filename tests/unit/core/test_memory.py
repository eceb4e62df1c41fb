from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from multimodal_algo.core.memory import MemoryGate, available_bytes, out_of_memory_kills


@pytest.mark.parametrize(
    ("names", "reclaimable"),
    [
        (("memory.max", "memory.current", "memory.stat"), "inactive_file"),
        (("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"), "total_inactive_file"),
    ],
)
def test_a_containers_limit_counts_and_its_page_cache_does_not(
    tmp_path: Path, names: tuple[str, str, str], reclaimable: str
) -> None:
    for name, text in zip(names, ("1000\n", "900\n", f"anon 500\n{reclaimable} 300\n"), strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_bytes(tmp_path) == 400


def test_without_a_limit_the_machine_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(tmp_path) > 10_000_000


@pytest.mark.parametrize("name", ["memory.events", "memory/memory.oom_control"])
def test_processes_killed_for_memory_are_counted(tmp_path: Path, name: str) -> None:
    assert out_of_memory_kills(tmp_path) == 0
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("oom 5\noom_kill 3\n")
    assert out_of_memory_kills(tmp_path) == 3


def test_a_gate_lets_threads_hold_no_more_than_there_is() -> None:
    gate = MemoryGate(100)
    most, held, lock = [], [0], threading.Lock()

    def hold(size: int) -> None:
        with gate.holding(size) as hold:
            with lock:
                held[0] += size
                most.append(held[0])
                held[0] -= size // 2
            hold.only(size - size // 2)
            with lock:
                held[0] -= size - size // 2

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(hold, [90, 10, 50, 30, 70, 100] * 100))
    assert max(most) <= 100
    assert gate.take(100, waits=False)
    assert not gate.take(1, waits=False)
    gate.give_back(100)
    with gate.holding(1_000):  # more than there is: alone
        assert not gate.take(1, waits=False)
