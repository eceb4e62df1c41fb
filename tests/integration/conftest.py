"""The fits of this folder share what would be the same in each of them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module", autouse=True)
def _each_network_is_exported_once(make_once: Callable[[str, Callable[[Path], object]], Path]) -> Iterator[None]:
    """Reuse the ONNX graph of a network with the same layers and weights: an export takes longer than many a fit."""
    from multimodal_algo.networks import backbone
    from multimodal_algo.networks.engines import export_onnx

    def export_once(network: Any, example: Mapping[str, Any], path: Path) -> None:
        def export(directory: Path) -> None:
            export_onnx(network, example, directory / "network.onnx")

        graphs = make_once(f"graph-{_digest(network, example)}", export)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(graphs / "network.onnx", path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbone, "export_onnx", export_once)
        yield


def _digest(network: Any, example: Mapping[str, Any]) -> str:
    """Digest of a network's layers, weights and inputs."""
    digest = hashlib.sha256(repr((network, list(example))).encode())
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
