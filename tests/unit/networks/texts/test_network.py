"""A text network that is saved is the same network when it is loaded, and its ONNX graph gives the same vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multimodal_algo.config.inference import Engine
from multimodal_algo.networks.text_backbone import TextBackbone, joined
from multimodal_algo.networks.texts.library import MINILM, UNIVERSAL

TEXTS = ["a short text", "un texte un peu plus long, qui a plus de mots que les autres", "x", "一个句子"]


@pytest.fixture(scope="module", params=[UNIVERSAL, MINILM])
def backbone(request: pytest.FixtureRequest) -> TextBackbone:
    return TextBackbone.resolve(request.param)


def test_saved_networks_are_the_same(backbone: TextBackbone, tmp_path: Path) -> None:
    backbone.save(tmp_path / "saved")
    again = TextBackbone.resolve(str(tmp_path / "saved"))
    assert again.info == backbone.info
    np.testing.assert_allclose(again.encode(TEXTS), backbone.encode(TEXTS), atol=1e-6)


def test_onnx_graphs_give_the_same_vectors(backbone: TextBackbone, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    expected = backbone.encode(TEXTS)
    backbone.save(tmp_path)
    backbone.export_onnx(tmp_path / "network.onnx")
    backbone.use_graph(tmp_path / "network.onnx", Engine.ONNX, has_gpu=False)
    np.testing.assert_allclose(backbone.encode(TEXTS), expected, atol=1e-5)
    backbone.use_torch()


def test_fine_tuning_starts_from_a_transformer(backbone: TextBackbone, tmp_path: Path) -> None:
    is_transformer = backbone.info.name == MINILM
    assert backbone.save_for_transformers(tmp_path) == is_transformer
    if is_transformer:
        vectors = TextBackbone.resolve(str(tmp_path)).encode(TEXTS)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        np.testing.assert_allclose(vectors, backbone.encode(TEXTS), atol=1e-5)


def test_vectors_of_several_networks_are_joined() -> None:
    backbones = [TextBackbone.resolve(UNIVERSAL), TextBackbone.resolve(MINILM)]
    vectors = joined(backbones)(TEXTS)
    np.testing.assert_allclose(vectors[:, :512], backbones[0].encode(TEXTS), atol=1e-6)
    np.testing.assert_allclose(vectors[:, 512:], backbones[1].encode(TEXTS), atol=1e-6)
    assert joined(backbones)([]).shape == (0, 896)
