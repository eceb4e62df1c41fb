"""The fits of this folder share what would be the same in each of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module", autouse=True)
def _each_network_is_exported_once(make_once: Callable[[str, Callable[[Path], object]], Path]) -> Iterator[None]:
    """Reuse the ONNX graph of a network with the same layers: an export takes longer than many a fit."""
    from multimodal_algo.networks import backbone
    from multimodal_algo.networks.engines import export_onnx
    from multimodal_algo.predictors.finetune import exporting

    def export_once(network: Any, example: Mapping[str, Any], axes: Any, path: Path) -> None:
        def export(directory: Path) -> None:
            export_onnx(network, example, axes, directory / "network.onnx")

        graphs = make_once(f"graph-{_digest(network, example)}", export)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_with_weights(graphs / "network.onnx", network, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbone, "export_onnx", export_once)
        patch.setattr(exporting, "export_onnx", export_once)
        yield


def _digest(network: Any, example: Mapping[str, Any]) -> str:
    """Digest of a network's layers, and of what is not named by a weight: buffers that are not saved, and inputs."""
    digest = hashlib.sha256(repr((network, list(example), sorted(network.state_dict()))).encode())
    for name, value in network.named_buffers():
        if name not in network.state_dict():
            digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _write_with_weights(graph: Path, network: Any, path: Path) -> None:
    """Write a graph with the weights of a network, which has them under the same names."""
    import onnx

    model = onnx.load(graph)
    weights = network.state_dict()
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(onnx.numpy_helper.from_array(weights[tensor.name].contiguous().numpy(), tensor.name))
    onnx.save(model, path)
