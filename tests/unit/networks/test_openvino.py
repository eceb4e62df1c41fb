"""OpenVINO runs networks in bfloat16 where that is exact enough. Where it cannot, another engine does."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_networks import write_text_network

from multimodal_algo.config.inference import Engine
from multimodal_algo.networks import embedded, openvino_network
from multimodal_algo.networks.backbone import Backbone
from multimodal_algo.networks.engines import TOLERANCE, Unavailable
from multimodal_algo.networks.image_backbone import ImageBackbone
from multimodal_algo.networks.openvino_network import OpenVinoNetwork
from multimodal_algo.networks.stored import DESCRIPTION, GRAPH
from multimodal_algo.networks.text_backbone import TextBackbone
from multimodal_algo.networks.texts.blocks import block_batches
from multimodal_algo.networks.texts.library import EMBEDDED

pytest.importorskip("openvino")
pytest.importorskip("onnxruntime")

HAS_BF16 = openvino_network.has_bf16()
FASTEST = "openvino bf16" if HAS_BF16 else "onnx"
TEXTS = ["a red lamp", "much longer text of words " * 5, "", "x", "words of a text"]


def resolve(name: str) -> Backbone:
    if name in EMBEDDED:
        return TextBackbone.resolve(name)
    return ImageBackbone.resolve(name, weights_dir=Path("none"), allow_untrained=False, seed=0)


@pytest.mark.parametrize("name", [*EMBEDDED, *embedded.EMBEDDED])
def test_vectors_of_the_networks_of_the_package_agree_with_those_of_onnx_runtime(name: str, tmp_path: Path) -> None:
    network = resolve(name)
    network.save(tmp_path)
    network.export_onnx(tmp_path / GRAPH)
    is_text = isinstance(network, TextBackbone)
    cells = TEXTS if is_text else list(np.random.default_rng(1).integers(0, 256, (2, 260, 260, 3), dtype=np.uint8))
    cells = cells if is_text else [cell[: network.info.takes.side, : network.info.takes.side] for cell in cells]
    network.use_graph(tmp_path / GRAPH, Engine.ONNX)
    expected = network.encode(cells)
    network.use_graph(tmp_path / GRAPH, Engine.OPENVINO)
    # An image network is never rounded.
    assert network.engine == ("openvino bf16" if is_text and HAS_BF16 else "openvino f32")
    bound = TOLERANCE if network.engine == "openvino bf16" else 1e-4
    np.testing.assert_allclose(network.encode(cells), expected, atol=bound * np.abs(expected).max())


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a small text network, with its graph."""
    directory = tmp_path_factory.mktemp("stored")
    network = TextBackbone.resolve(str(write_text_network(tmp_path_factory.mktemp("model"))))
    network.save(directory)
    network.export_onnx(directory / GRAPH)
    return directory


@pytest.fixture
def without_openvino(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Python without the package."""
    openvino_network._core.cache_clear()
    monkeypatch.setitem(sys.modules, "openvino", None)
    yield
    openvino_network._core.cache_clear()


@pytest.fixture
def without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without bfloat16."""
    monkeypatch.setattr(openvino_network, "has_bf16", lambda: False)


def engine_of(stored: Path, engine: Engine) -> str:
    network = TextBackbone.load(stored)
    network.use_graph(stored / GRAPH, engine)
    return network.engine


def test_auto_is_the_fastest_engine(stored: Path) -> None:
    assert engine_of(stored, Engine.AUTO) == FASTEST


@pytest.mark.usefixtures("without_bf16")
def test_texts_without_bfloat16_are_left_to_onnx_runtime(stored: Path) -> None:
    assert engine_of(stored, Engine.AUTO) == "onnx"
    assert engine_of(stored, Engine.OPENVINO) == "openvino f32"


@pytest.mark.usefixtures("without_openvino")
def test_without_the_package_auto_is_onnx_runtime(stored: Path) -> None:
    assert engine_of(stored, Engine.AUTO) == "onnx"
    with pytest.raises(Unavailable, match="openvino is not installed"):
        engine_of(stored, Engine.OPENVINO)


def test_a_network_whose_vectors_bfloat16_changes_is_run_in_float32(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = OpenVinoNetwork.__call__

    def less_exact(self: OpenVinoNetwork, inputs: dict[str, np.ndarray]) -> np.ndarray:
        return call(self, inputs) + 0.1 * self.is_rounded

    monkeypatch.setattr(OpenVinoNetwork, "__call__", less_exact)
    assert engine_of(stored, Engine.AUTO) == "onnx"
    assert engine_of(stored, Engine.OPENVINO) == "openvino f32"


def test_a_vector_does_not_depend_on_the_other_texts(stored: Path) -> None:
    network = TextBackbone.load(stored)
    network.use_graph(stored / GRAPH, Engine.OPENVINO)
    alone = np.concatenate([network.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(network.encode(TEXTS), alone, rtol=0, atol=1e-6)


def test_batches_have_texts_of_one_length_in_blocks() -> None:
    lengths = np.array([3, 200, 16, 17, 500, 1])
    mask = (np.arange(500) < lengths[:, None]).astype(np.int64)
    batches = [(rows.tolist(), length) for rows, length in block_batches(mask, 77)]
    assert batches == [([0, 2, 5], 16), ([3], 32), ([1, 4], 77)]


def test_the_engine_of_the_training_is_stored_and_another_one_is_compared_with_it(
    stored: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = TextBackbone.load(stored)
    network.use_graph(stored / GRAPH, Engine.OPENVINO)
    network.describe(tmp_path)
    path = tmp_path / DESCRIPTION
    description = json.loads(path.read_text())
    assert description["engine"] == network.engine
    for factor, warnings in ((1.0, 0), (1.1, 1)):
        trained = [[factor * entry for entry in vector] for vector in description["trained"]]
        path.write_text(json.dumps(description | {"trained": trained}))
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            again = TextBackbone(network._network, network._stored.read(tmp_path))
            again.use_graph(stored / GRAPH, Engine.ONNX)
        assert sum("which the model was trained on" in record.message for record in caplog.records) == warnings


def test_the_import_sends_nothing_and_does_without_torch() -> None:
    code = """
import sys
from multimodal_algo.networks.openvino_network import has_bf16
has_bf16()
sys.exit(", ".join({"openvino_telemetry", "openvino.tools.ovc", "torch"} & set(sys.modules)) or None)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
