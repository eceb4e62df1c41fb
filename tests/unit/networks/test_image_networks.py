"""Image networks of users: each gives the vectors of its own library, and lives on in an artifact."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
import transformers
from PIL import Image

from multimodal_algo.config.inference import Engine
from multimodal_algo.core.errors import UserError
from multimodal_algo.networks.image_backbone import ImageBackbone
from multimodal_algo.networks.library import find_image_network

TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
RANDOM = np.random.default_rng(0)
PICTURE = Image.fromarray(RANDOM.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize(
    (97, 75), Image.Resampling.BICUBIC
)


def found(name: str | Path, weights_dir: Path = Path("none")) -> ImageBackbone:
    return ImageBackbone(*find_image_network(str(name), weights_dir=weights_dir, allow_untrained=False, seed=0))


def vector(backbone: ImageBackbone) -> np.ndarray:
    return backbone.encode([np.asarray(backbone.info.takes.cut(PICTURE))])[0]


def vit(directory: Path) -> Any:
    config = transformers.ViTConfig(**TINY, image_size=32, patch_size=8)
    transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(directory)
    return transformers.ViTModel(config)


def vit_for_classes(directory: Path) -> Any:
    vit(directory)
    config = transformers.ViTConfig(**TINY, image_size=32, patch_size=8, num_labels=5)
    return transformers.ViTForImageClassification(config)


def dinov2(directory: Path) -> Any:
    config = transformers.Dinov2Config(**{**TINY, "mlp_ratio": 2}, image_size=70, patch_size=14)
    transformers.BitImageProcessorPil(
        size={"shortest_edge": 48}, crop_size={"height": 42, "width": 42}, image_std=[0.2, 0.3, 0.4], resample=3
    ).save_pretrained(directory)
    return transformers.Dinov2Model(config)


def dinov3(directory: Path) -> Any:
    config = transformers.DINOv3ViTConfig(**TINY, image_size=32, patch_size=8)
    transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(directory)
    return transformers.DINOv3ViTModel(config)


def swin(directory: Path) -> Any:
    config = transformers.SwinConfig(embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4, image_size=32)
    transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}, rescale_factor=1 / 127).save_pretrained(
        directory
    )
    return transformers.SwinModel(config)


def convnext(directory: Path) -> Any:
    transformers.ConvNextImageProcessorPil(size={"shortest_edge": 64}, crop_pct=0.9).save_pretrained(directory)
    return transformers.ConvNextModel(transformers.ConvNextConfig(**STAGES))


def resnet(directory: Path) -> Any:
    transformers.ConvNextImageProcessorPil(size={"shortest_edge": 384}).save_pretrained(directory)
    return transformers.ResNetModel(transformers.ResNetConfig(**STAGES, embedding_size=8))


def clip(directory: Path) -> Any:
    vision = {**TINY, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(text_config={**TINY, "vocab_size": 99}, vision_config=vision, projection_dim=12)
    transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(directory)
    return transformers.CLIPModel(config)


def siglip(directory: Path) -> Any:
    vision = {**TINY, "image_size": 32, "patch_size": 8}
    config = transformers.SiglipConfig(text_config={**TINY, "vocab_size": 99}, vision_config=vision)
    transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(directory)
    return transformers.SiglipModel(config)


def by_library(model: Any, directory: Path) -> np.ndarray:
    processor = transformers.AutoImageProcessor.from_pretrained(directory, backend="pil")
    inputs = processor(PICTURE, return_tensors="pt")
    with torch.inference_mode():
        if hasattr(model, "get_image_features"):
            output = model.get_image_features(**inputs)
            return (output if isinstance(output, torch.Tensor) else output.pooler_output)[0].numpy()
        if hasattr(model, "classifier"):
            return model.vit(**inputs).last_hidden_state[0, 0].numpy()
        return model(**inputs).pooler_output[0].flatten().numpy()


FAMILIES = [vit, vit_for_classes, dinov2, dinov3, swin, convnext, resnet, clip, siglip]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_a_network_of_transformers_gives_the_vectors_of_its_library(
    family: Callable[[Path], Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    directory = tmp_path / "owner/network"
    directory.mkdir(parents=True)
    model = family(directory).eval()
    model.save_pretrained(directory)
    backbone = found("owner/network", tmp_path)  # as baked into an image, by the id of the hub
    expected = by_library(model, directory)
    np.testing.assert_allclose(vector(backbone), expected, atol=1e-4)
    backbone.save(tmp_path / "saved")
    backbone.export_onnx(tmp_path / "saved/network.onnx")
    again = ImageBackbone.load(tmp_path / "saved", backbone.info)
    np.testing.assert_allclose(vector(again), expected, atol=1e-4)
    again.use_graph(tmp_path / "saved/network.onnx", Engine.ONNX, has_gpu=False)
    np.testing.assert_allclose(vector(again), expected, atol=1e-3)


def timm_vector(model: Any, config: dict[str, Any]) -> np.ndarray:
    transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=config))
    with torch.inference_mode():
        model.reset_classifier(0)
        return model.eval()(transform(PICTURE)[None])[0].numpy()


TIMM = [
    ("vit_tiny_patch16_224", {}, {}),
    ("tf_efficientnet_lite0", {"crop_pct": 1.0, "crop_mode": "squash"}, {}),
    ("convnext_atto", {"mean": [0.1, 0.2, 0.3], "interpolation": "bilinear", "input_size": [3, 96, 96]}, {}),
    ("vit_small_patch14_dinov2", {"input_size": [3, 70, 70]}, {"img_size": 70, "depth": 1}),
]


@pytest.mark.parametrize(("name", "described", "arguments"), TIMM, ids=[name for name, *_ in TIMM])
def test_a_directory_of_timm_gives_the_vectors_of_timm(
    name: str, described: dict[str, Any], arguments: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=3 if name.startswith("vit") else 1000, **arguments)
    model.pretrained_cfg = {**model.pretrained_cfg, **described}
    timm.models._hub.save_for_hf(model, tmp_path / "network", model_args=arguments, safe_serialization=True)
    backbone = found(tmp_path / "network")
    expected = timm_vector(model, {**model.pretrained_cfg, **described})
    np.testing.assert_allclose(vector(backbone), expected, atol=1e-4)
    backbone.save(tmp_path / "saved")
    np.testing.assert_allclose(vector(ImageBackbone.load(tmp_path / "saved", backbone.info)), expected, atol=1e-4)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_state_dict_of_timm_takes_the_images_of_its_network(suffix: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = timm.create_model("mixer_s32_224")
    path = tmp_path / f"mixer_s32_224-mine{suffix}"
    save_file(model.state_dict(), path) if suffix == ".safetensors" else torch.save(model.state_dict(), path)
    for backbone in (found(path), found("mixer_s32_224", tmp_path)):
        assert backbone.info.takes.mean == (0.5, 0.5, 0.5)
        np.testing.assert_allclose(vector(backbone), timm_vector(model, model.pretrained_cfg), atol=1e-4)


def test_a_state_dict_of_torchvision_may_have_other_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torchvision.models.shufflenet_v2_x0_5(num_classes=7)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "shufflenet_v2_x0_5-mine.pth")
    model.fc = torch.nn.Identity()
    transform = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT.transforms()
    with torch.inference_mode():
        expected = model.eval()(transform(PICTURE)[None])[0].numpy()
    np.testing.assert_allclose(vector(found("shufflenet_v2_x0_5", tmp_path)), expected, atol=1e-4)


def _text_model(directory: Path) -> None:
    transformers.BertModel(transformers.BertConfig(**TINY, vocab_size=50)).save_pretrained(directory)


def _without_weights(directory: Path) -> None:
    (directory / "config.json").write_text(json.dumps({"architecture": "resnet18"}))


def _of_another_kind(directory: Path) -> None:
    (directory / "model.onnx").write_bytes(b"graph")


def _unknown_to_timm(directory: Path) -> None:
    (directory / "config.json").write_text(json.dumps({"architecture": "resnet_of_tomorrow"}))
    (directory / "model.safetensors").write_bytes(b"")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_text_model, "holds config.json, model.safetensors"), (_without_weights, "there is neither model.safetensors"),
        (_of_another_kind, "holds model.onnx"), (_unknown_to_timm, "holds config.json, model.safetensors"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_what_was_found(
    write: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    write(tmp_path)
    with pytest.raises(UserError, match=message) as error:
        found(tmp_path)
    assert "It takes config.json and model.safetensors as timm writes them" in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet51", "did you mean 'resnet5"), ("vit_small_patch14_dinov3", "did you mean 'vit_small_patch14_dinov2"),
        ("none/such.pth", "there is no file 'none/such.pth'"), ("a/b/c", "there is no file 'a/b/c'"),
    ],
)  # fmt: skip
def test_a_name_that_nothing_has_is_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        found(name)
