"""Print the keys of AutoMM's default configuration with their values, as JSON.

    scripts/automm_defaults.py >src/multimodal_algo/config/automm_defaults.json

``make spec`` runs this after an update of AutoGluon. The keys are read from the configuration files of the installed
version, without importing it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

_PARTS = ("model", "data", "optim", "env", "distiller", "matcher")


def installed_defaults() -> dict[str, Any]:
    """Return all keys of the installed version with their values."""
    spec = find_spec("autogluon.multimodal")
    assert spec is not None
    assert spec.submodule_search_locations
    root = Path(next(iter(spec.submodule_search_locations))) / "configs"
    flat: dict[str, Any] = {}
    for part in _PARTS:
        for path in sorted((root / part).glob("*.yaml")):
            flat |= dict(_flat(OmegaConf.to_container(OmegaConf.load(path)), ""))
    return flat


def defaults_json() -> str:
    """Return the text of ``automm_defaults.json``."""
    return json.dumps(installed_defaults(), indent=1, ensure_ascii=False) + "\n"


def _flat(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


if __name__ == "__main__":
    print(defaults_json(), end="")
