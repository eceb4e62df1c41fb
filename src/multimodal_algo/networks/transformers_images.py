"""Image networks of transformers: directories with ``config.json``, weights and ``preprocessor_config.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from multimodal_algo.ingest.image_input import ImageInput
from multimodal_algo.networks.image_info import BackboneInfo

# The side of models for texts and images that sees images, by the model's type.
_TOWERS = {
    "clip": "CLIPVisionModelWithProjection",
    "metaclip_2": "MetaClip2VisionModelWithProjection",
    "siglip": "SiglipVisionModel",
    "chinese_clip": "ChineseCLIPVisionModel",
    "altclip": "AltCLIPVisionModel",
}
# Names of classes in a configuration do not matter for vectors, and may be thousands.
_LEFT_OUT = ("_name_or_path", "id2label", "label2id", "architectures", "transformers_version", "torch_dtype", "dtype")
_CONVNEXT_WARPS_FROM = 384


def transformers_network(directory: Path) -> tuple[BackboneInfo, Any]:
    """Read the image network in a directory that ``save_pretrained`` has written.

    Return the network and its description.

    Raises
    ------
    Exception
        The directory does not hold a readable image network. The libraries raise exceptions of many kinds.
    """
    import torch
    from transformers import AutoConfig, AutoImageProcessor

    config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    processor = AutoImageProcessor.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    takes = image_input_of(processor, config)
    kind, config = _kind(config)
    network, report = kind.from_pretrained(
        directory,
        config=config,
        local_files_only=True,
        trust_remote_code=False,
        dtype=torch.float32,
        output_loading_info=True,
    )
    missing = sorted(report["missing_keys"])
    if any("pooler." in key for key in missing):  # a network for classes does without it
        network.pooler = None
    if lost := [key for key in missing if "pooler." not in key]:
        raise ValueError(f"{len(lost)} weights are missing, the first is {lost[0]}")
    values = json.loads(network.config.to_json_string())
    config_values = {key: value for key, value in values.items() if key not in _LEFT_OUT}
    pooling = _pooling(network, takes.side)
    info = BackboneInfo(
        f"transformers/{type(network).__name__}",
        directory.name,
        True,
        takes,
        {"config": config_values, "pooling": pooling},
    )
    return info, _pooled(network, pooling)


def _kind(config: Any) -> tuple[Any, Any]:
    """Return the class of the image network that a configuration describes, and the configuration of this network.

    The configuration may be that of a larger model, such as CLIP.
    """
    import transformers

    architecture = (config.architectures or [""])[0]
    if architecture.endswith("VisionModelWithProjection"):
        return getattr(transformers, architecture), config
    if config.model_type in _TOWERS:
        vision = config.vision_config
        if hasattr(config, "projection_dim"):
            vision.projection_dim = config.projection_dim
        return getattr(transformers, _TOWERS[config.model_type]), vision
    if hasattr(config, "text_config"):
        raise ValueError(f"the model type '{config.model_type}' has no network for images alone")
    return transformers.AutoModel, config


def untrained_transformers_network(name: str, settings: Mapping[str, Any]) -> Any:
    """Build an image network of transformers with random weights.

    `name` is its class, `settings` are its description's.
    """
    import transformers

    kind = getattr(transformers, name)
    return _pooled(kind(kind.config_class.from_dict(dict(settings["config"]))), settings["pooling"])


def _pooling(network: Any, side: int) -> str:
    """Return the name of the output that is the vector of an image: the one that transformers' own pipeline takes.

    An output that comes from untrained weights is not taken.
    """
    import torch

    with torch.inference_mode():
        output = network.eval()(pixel_values=torch.zeros(1, 3, side, side))
    for name in ("image_embeds", "pooler_output"):
        if output.get(name) is not None:
            return name
    has_class_token = any(name.endswith("cls_token") for name, _ in network.named_parameters())
    return "cls" if has_class_token else "mean"


def _pooled(network: Any, pooling: str) -> Any:
    """Return a module that turns normalised pixels into vectors, float32 (images, width)."""
    import torch

    if pooling in ("cls", "mean") and getattr(network, "pooler", None) is not None:
        network.pooler = None

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            output = self.network(pixel_values=pixels)
            if pooling in ("image_embeds", "pooler_output"):
                vectors = output[pooling]
            elif output.last_hidden_state.ndim == 4:
                vectors = output.last_hidden_state.mean(dim=(2, 3))
            else:
                tokens = output.last_hidden_state
                vectors = tokens[:, 0] if pooling == "cls" else tokens.mean(dim=1)
            return vectors.flatten(1)

    return Pooled()


def image_input_of(processor: Any, config: Any) -> ImageInput:
    """Return the size and form of the images that a network takes, from its image processor.

    Raises
    ------
    ValueError
        The processor has other steps than resizing, cropping and normalising. The message is the reason.
    """
    values = processor.to_dict()
    size, crop = dict(values.get("size") or {}), dict(values.get("crop_size") or {})
    has_crop, has_resize = bool(values.get("do_center_crop")), bool(values.get("do_resize"))
    resize, keeps_shape = _resize(size if has_resize else crop or {"height": _side(config), "width": _side(config)})
    side = _square(crop) if has_crop else resize
    if "crop_pct" in values and keeps_shape:  # ConvNeXT
        keeps_shape = resize < _CONVNEXT_WARPS_FROM
        resize = int(resize / (values["crop_pct"] or 224 / 256)) if keeps_shape else resize
    elif keeps_shape and not has_crop:
        raise ValueError("its image processor makes images that are not square")
    if values.get("do_pad"):
        raise ValueError("its image processor pads images")
    scale = 255 * (values.get("rescale_factor") or 1 / 255) if values.get("do_rescale", True) else 255.0
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if values.get("do_normalize"):
        mean, std = _three(values["image_mean"]), _three(values["image_std"])
    red, green, blue = (value / scale for value in mean)
    return ImageInput(
        side=side,
        resize=resize,
        keeps_shape=keeps_shape,
        interpolation=Image.Resampling(int(values.get("resample") or 0)).name.lower() if has_resize else "bicubic",
        rounds_down=True,
        mean=(red, green, blue),
        std=(std[0] / scale, std[1] / scale, std[2] / scale),
    )


def _resize(size: Mapping[str, Any]) -> tuple[int, bool]:
    """Return the pixels to which images are resized, and whether their shape is kept."""
    if size.get("shortest_edge") and not size.get("longest_edge"):
        return int(size["shortest_edge"]), True
    return _square(size), False


def _square(size: Mapping[str, Any]) -> int:
    height, width = size.get("height"), size.get("width")
    if not height or height != width:
        raise ValueError(f"its image processor makes images of the size {dict(size)}, which are not square")
    return int(height)


def _side(config: Any) -> int:
    side: Any = getattr(getattr(config, "vision_config", config), "image_size", 224)
    return int(side[0] if isinstance(side, list | tuple) else side)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = values if isinstance(values, list | tuple) else (values,) * 3
    return float(red), float(green), float(blue)
