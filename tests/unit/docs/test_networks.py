"""``docs/networks.md`` has the package and the files of each network that comes with the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from multimodal_algo.networks.texts.library import EMBEDDED

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/networks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_text_network_is_documented(name: str) -> None:
    entry = EMBEDDED[name]
    package, version = entry.package.split()
    assert f"| `{name}` | `{package}` {version} |" in PAGE
    assert f'"{package}=={version}' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for file, digest in entry.files.items():
        assert f"| `{entry.module}/{file}` | `{digest}` |" in PAGE
