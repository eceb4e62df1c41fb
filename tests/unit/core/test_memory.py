from __future__ import annotations

from pathlib import Path

import pytest

from multimodal_algo.core.memory import available_bytes


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
