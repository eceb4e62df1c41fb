"""Image networks of the library timm: found by name or by weights, and written in the form that AutoMM reads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from multimodal_algo.ingest.image_input import ImageInput
from multimodal_algo.networks.image_info import BackboneInfo
from multimodal_algo.networks.state_dict import read_state_dict

# Networks of torchvision that timm has under another name.
_TIMM_NAMES = {"mobilenet_v2": "mobilenetv2_100"}
# Beginnings of the names of networks whose parameters have one order in both libraries.
_SAME_IN_TIMM = ("resnet", "mobilenetv2_100")
# What the structure of a network depends on. The rest of timm's configuration is about its images and its source.
_WEIGHTS = ("model.safetensors", "pytorch_model.safetensors", "pytorch_model.bin", "pytorch_model.pth")
_STRUCTURE = ("input_size", "fixed_input_size")

# Networks of timm for the kinds of networks of transformers, by their ``model_type``.
_SIMILAR = {
    "beit": "beit_base_patch16_224",
    "clip": "vit_base_patch16_clip_224",
    "clip_vision_model": "vit_base_patch16_clip_224",
    "convnext": "convnext_tiny",
    "convnextv2": "convnextv2_tiny",
    "deit": "deit_base_patch16_224",
    "dinov2": "vit_small_patch14_dinov2",
    "mobilevit": "mobilevit_s",
    "resnet": "resnet50",
    "siglip": "vit_base_patch16_siglip_224",
    "siglip_vision_model": "vit_base_patch16_siglip_224",
    "swin": "swin_tiny_patch4_window7_224",
    "swinv2": "swinv2_tiny_window8_256",
    "vit": "vit_base_patch16_224",
}
_COMMON = "vit_base_patch16_224"


def similar_in_timm(model_type: str) -> str:
    """Return the name of a timm network that is similar to a ``model_type`` of transformers."""
    return _SIMILAR.get(model_type, _COMMON)


def timm_names() -> list[str]:
    """Return the names of all image networks that timm has."""
    import timm

    return timm.list_models()


def is_timm_name(name: str) -> bool:
    """Return whether timm has a network of this name. The name may end in a dot and the name of weights."""
    import timm

    architecture, _, tag = name.partition(".")
    return timm.is_model(architecture) and (not tag or name in timm.list_models(f"{architecture}*", pretrained=True))


def hub_id_of(name: str) -> str:
    """Return the hub's id for the weights of a timm network. Any other name is an id already and is returned."""
    import timm

    config = timm.models.get_pretrained_cfg(name) if is_timm_name(name) else None
    return getattr(config, "hf_hub_id", None) or name


def untrained_timm_network(name: str, *, seed: int) -> tuple[BackboneInfo, Any]:
    """Return a timm network with random weights, and its description. The same seed gives the same weights."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm_network(name, arguments={"num_classes": 0})


def timm_network(
    name: str,
    *,
    state: Mapping[str, Any] | None = None,
    description: Mapping[str, Any] | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> tuple[BackboneInfo, Any]:
    """Build a timm network with given weights. Return the network and its description, which calls it untrained.

    Parameters
    ----------
    name
        Name of the network, with or without the name of weights.
    state
        Weights of the network, with or without those of a classifier. Without them, the network has random weights and
        its classifier.
    description
        Values that replace timm's own ``pretrained_cfg`` of this network.
    arguments
        Further arguments of the network.

    Raises
    ------
    RuntimeError, KeyError, TypeError, ValueError
        The network cannot be built so, or the weights do not suit it.
    """
    import timm
    from timm.models import PretrainedCfg

    known = {field.name for field in fields(PretrainedCfg)}
    overlay = {key: value for key, value in (description or {}).items() if key in known and value is not None}
    arguments = dict(arguments or {})
    if state is not None:
        classifier = overlay.get("classifier") or timm.get_pretrained_cfg_value(name, "classifier")
        # With no classes on both sides, timm accepts neither missing nor unknown weights.
        overlay |= {"state_dict": _without(state, classifier), "num_classes": 0, "label_offset": 0}
        arguments["num_classes"] = 0
    network = timm.create_model(name, pretrained=state is not None, pretrained_cfg_overlay=overlay, **arguments)
    described = {key: value for key, value in network.pretrained_cfg.items() if key != "state_dict"}
    network.pretrained_cfg = network.default_cfg = described
    settings = {
        "description": {key: described[key] for key in _STRUCTURE if key in described},
        "arguments": {key: value for key, value in arguments.items() if key != "num_classes"},
    }
    return BackboneInfo(f"timm/{name}", "untrained", False, image_input_of(described), settings), network


def timm_directory(directory: Path) -> tuple[BackboneInfo, Any]:
    """Read the network in a directory that timm or its hub has written. Return the network and its description.

    Raises
    ------
    RuntimeError, KeyError, TypeError, ValueError, OSError
        The directory does not hold a network of timm.
    """
    content = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    # Older files have all values on one level.
    description = {**content, **content.get("pretrained_cfg", {}), "custom_load": False}
    path = next((path for name in _WEIGHTS if (path := directory / name).is_file()), None)
    if path is None:
        raise OSError(f"there is neither {' nor '.join(_WEIGHTS)}")
    arguments = content.get("model_args") or {}
    info, network = timm_network(
        content["architecture"], state=read_state_dict(path), description=description, arguments=arguments
    )
    return replace(info, source=directory.name, pretrained=True), network


def _without(state: Mapping[str, Any], classifier: str | tuple[str, ...] | None) -> dict[str, Any]:
    """Return the weights without those of the classifier or classifiers."""
    names = (classifier,) if isinstance(classifier, str) else tuple(classifier or ())
    dropped = {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}
    return {key: value for key, value in state.items() if key not in dropped}


def image_input_of(description: Mapping[str, Any]) -> ImageInput:
    """Return the size and form of the images that a timm network takes, from its ``pretrained_cfg``.

    They are those with which timm itself evaluates the network.

    Raises
    ------
    ValueError
        Images of this kind are not supported. The message is the reason.
    """
    from timm.data import resolve_data_config

    config = resolve_data_config(pretrained_cfg=dict(description))
    channels, height, width = config["input_size"]
    if channels != 3 or height != width:
        raise ValueError(f"images of {width} x {height} pixels with {channels} colours")
    if config["crop_mode"] not in ("center", "squash"):
        raise ValueError(f"the crop_mode '{config['crop_mode']}'")
    return ImageInput(
        side=height,
        resize=math.floor(height / config["crop_pct"]),
        keeps_shape=config["crop_mode"] == "center",
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def write_for_timm(network: Any, info: BackboneInfo, directory: Path) -> bool:
    """Write the weights of an image network in the form that AutoMM's ``timm_image`` reads, for fine-tuning.

    The weights of torchvision's ResNets have the same names in timm. Those of its MobileNetV2 have the same order.

    Parameters
    ----------
    network
        Network without its classifier.
    info
        Description of the network.
    directory
        Directory for the files, made when missing.

    Returns
    -------
    bool
        Whether timm has the network. Otherwise nothing is written.
    """
    import timm
    import torch

    library, _, name = info.architecture.partition("/")
    name = name if library == "timm" else _TIMM_NAMES.get(name, name)
    if library != "timm" and not name.startswith(_SAME_IN_TIMM):
        return False
    # AutoMM makes the network by its name alone.
    copy = timm.create_model(name, pretrained=False, num_classes=0)
    weights = [value.cpu() for value in network.state_dict().values()]
    expected = copy.state_dict()
    if [tuple(value.shape) for value in weights] != [tuple(value.shape) for value in expected.values()]:
        return False
    copy.load_state_dict(dict(zip(expected, weights, strict=True)))
    directory.mkdir(parents=True, exist_ok=True)
    torch.save(copy.state_dict(), directory / "pytorch_model.bin")
    config = {"architecture": name, "num_features": copy.num_features, "pretrained_cfg": _described(name, info.takes)}
    (directory / "config.json").write_text(json.dumps(config) + "\n", encoding="utf-8")
    return True


def _described(name: str, takes: ImageInput) -> dict[str, Any]:
    return {
        "architecture": name,
        "input_size": [3, takes.side, takes.side],
        "mean": list(takes.mean),
        "std": list(takes.std),
        "interpolation": takes.interpolation,
        "crop_pct": takes.side / takes.resize,
        "crop_mode": "center" if takes.keeps_shape else "squash",
    }
