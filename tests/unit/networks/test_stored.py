"""A network's directory holds its weights once. Torch and ONNX Runtime both read them, and give equal vectors."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from small_networks import write_text_network

from multimodal_algo.config.inference import Engine
from multimodal_algo.core.errors import UserError
from multimodal_algo.networks.backbone import Backbone
from multimodal_algo.networks.engines import Unavailable
from multimodal_algo.networks.image_backbone import ImageBackbone
from multimodal_algo.networks.image_info import BackboneInfo
from multimodal_algo.networks.stored import DESCRIPTION, GRAPH, round_weights, write_weights
from multimodal_algo.networks.text_backbone import TextBackbone
from multimodal_algo.networks.torchvision_networks import without_classifier

INFO = BackboneInfo("torchvision/shufflenet_v2_x0_5", "test", True)
TEXTS = ["a red lamp", "", "  Grüße, a MUCH longer text of words\n" * 30, "x"]


def image_network() -> torch.nn.Module:
    torch.manual_seed(0)
    network = torchvision.models.shufflenet_v2_x0_5()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.running_mean, -1, 1)
            torch.nn.init.uniform_(layer.running_var, 0.5, 2)
    return without_classifier(network).eval()


def loaded(kind: str, directory: Path) -> Backbone:
    return TextBackbone.load(directory) if kind == "text" else ImageBackbone.load(directory, INFO)


@pytest.fixture(scope="module", params=["text", "image"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def network(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """A network as training has it."""
    if kind == "text":
        text = TextBackbone.resolve(str(write_text_network(tmp_path_factory.mktemp("model"))))
        text.round_weights()
        return text
    backbone = ImageBackbone(INFO, image_network())
    backbone.round_weights()
    return backbone


@pytest.fixture(scope="module")
def stored(network: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the network, with its graph."""
    directory = tmp_path_factory.mktemp("stored")
    network.save(directory)
    network.export_onnx(directory / GRAPH)
    return directory


@pytest.fixture
def cells(kind: str) -> list:
    random = np.random.default_rng(1)
    return TEXTS if kind == "text" else list(random.integers(0, 256, (5, 224, 224, 3), dtype=np.uint8))


def test_torch_and_onnx_runtime_give_the_vectors_of_training(
    kind: str, network: Backbone, stored: Path, cells: list
) -> None:
    expected = network.encode(cells)
    again = loaded(kind, stored)
    assert again.width == expected.shape[1]
    np.testing.assert_allclose(again.encode(cells), expected, atol=1e-6)
    again.use_graph(stored / GRAPH, Engine.ONNX, has_gpu=False)
    np.testing.assert_allclose(again.encode(cells), expected, atol=1e-4 * np.abs(expected).max())


def test_a_directory_holds_each_weight_once_and_in_two_bytes(network: Backbone, stored: Path) -> None:
    weights = sum(value.numel() for value in network.network.state_dict().values())
    (file,) = stored.rglob("*.safetensors")
    assert file.stat().st_size < 1.15 * 2 * weights + 20_000
    # The graph has the structure and small tensors.
    assert (stored / GRAPH).stat().st_size < 0.3 * file.stat().st_size + 100_000


def test_a_network_that_is_saved_again_is_the_same(
    kind: str, network: Backbone, stored: Path, tmp_path: Path, cells: list
) -> None:
    again = loaded(kind, stored)
    again.round_weights()
    again.save(tmp_path)
    np.testing.assert_array_equal(loaded(kind, tmp_path).encode(cells), network.encode(cells))


def changed(path: Path, change: object) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"probe": change(content["probe"])}))  # type: ignore[operator]


def test_no_engine_runs_a_network_with_damaged_probe_vectors(kind: str, stored: Path, tmp_path: Path) -> None:
    changed(copy_of(stored, tmp_path) / DESCRIPTION, lambda probe: [[-value for value in row] for row in probe])
    again = loaded(kind, tmp_path)
    with pytest.raises(Unavailable, match="differ from those of the training"):
        again.use_graph(tmp_path / GRAPH, Engine.ONNX, has_gpu=False)
    with pytest.raises(UserError, match="network of the artifact does not work as in training"):
        again.use_torch()


@pytest.mark.parametrize("content", ["", "[]", '{"kind": "text", "width": 3}', None])
def test_a_description_that_cannot_be_read_is_refused(
    kind: str, stored: Path, tmp_path: Path, content: str | None
) -> None:
    path = copy_of(stored, tmp_path) / DESCRIPTION
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(UserError, match=re.escape(f"{path}: this file cannot be read as the description")):
        loaded(kind, tmp_path)


def copy_of(directory: Path, target: Path) -> Path:
    return Path(shutil.copytree(directory, target, dirs_exist_ok=True))


@pytest.mark.parametrize("weight", [1e6, 300.0])
def test_a_network_whose_vectors_float16_changes_stays_in_float32(weight: float, tmp_path: Path) -> None:
    network = torch.nn.Linear(64, 64, bias=False)
    with torch.no_grad():
        # Weights that cancel each other out leave what rounding takes away.
        network.weight[:, ::2], network.weight[:, 1::2] = weight + 0.013, -weight
    before = network.weight.clone()
    assert round_weights(network, lambda: network(torch.ones(2, 64)).detach().numpy()) is None
    assert torch.equal(network.weight, before)
    write_weights(network.state_dict(), tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").stat().st_size > 4 * before.numel()
    if weight < 1e4:
        # The same weights, where nothing cancels out.
        assert round_weights(network, lambda: network(torch.eye(64)).detach().numpy()) == pytest.approx(4e-5, rel=0.1)


def test_tensors_of_other_types_keep_their_bits(tmp_path: Path) -> None:
    class Quantised(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.randint(0, 256, (3 * 224 * 224, 16), dtype=torch.uint8))
            self.register_buffer("scale", torch.rand(16) / 1000)
            self.register_buffer("more", (torch.rand(3 * 224 * 224, 2) / 1000).half())

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            values = pixels.flatten(1)
            return torch.cat([values @ (self.table.float() * self.scale), values @ self.more.float()], dim=1)

    backbone = ImageBackbone(INFO, Quantised().eval())
    backbone.round_weights()
    backbone.save(tmp_path)
    backbone.export_onnx(tmp_path / GRAPH)
    assert (tmp_path / "weights.safetensors").stat().st_size < 1.1 * 3 * 224 * 224 * (16 + 4)
    assert (tmp_path / GRAPH).stat().st_size < 10_000
    images = list(np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8))
    expected = backbone.encode(images)
    backbone.use_graph(tmp_path / GRAPH, Engine.ONNX, has_gpu=False)
    np.testing.assert_allclose(backbone.encode(images), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_onnx_runtime_does_without_torch_and_its_libraries(stored: Path, kind: str) -> None:
    code = f"""
import sys
from pathlib import Path
from multimodal_algo.config.inference import Engine
from multimodal_algo.ingest.image_input import ImageInput
from multimodal_algo.networks.image_backbone import ImageBackbone
from multimodal_algo.networks.image_info import BackboneInfo
from multimodal_algo.networks.text_backbone import TextBackbone
directory = Path({str(stored)!r})
network = TextBackbone.load(directory) if {kind!r} == "text" else ImageBackbone.load(directory, {INFO!r})
network.use_graph(directory / {GRAPH!r}, Engine.ONNX, has_gpu=False)
network.encode(network._probe())
heavy = {{"torch", "torchvision", "timm", "transformers", "sentence_transformers"}} & set(sys.modules)
sys.exit(", ".join(heavy) or None)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
