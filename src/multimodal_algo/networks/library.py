"""Image networks of torchvision and timm: by name or by their weights, without their classifier."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from multimodal_algo.core.errors import UserError

_DOWNLOAD_TIMEOUT_S = 10


def check_name(name: str) -> None:
    """Refuse a name that torchvision does not know.

    Raises
    ------
    UserError
        With the nearest name that it does.
    """
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.4)
        hint = f"did you mean '{close[0]}'?" if close else "use a name such as resnet50 or mobilenet_v2."
        raise UserError(f"image_backbone: torchvision has no network '{name}': {hint}")


def torchvision_network(name: str, *, seed: int = 0) -> Any:
    """A network with untrained weights, the same for the same seed."""
    import torch
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # These two warn about a slow initialisation unless told whether to do it.
        extra = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        return torchvision.models.get_model(name, weights=None, **extra)


def downloaded(name: str) -> Any:
    """A network with the weights that torchvision has or downloads; OSError where it cannot."""
    import socket

    import torchvision

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)
    try:
        return torchvision.models.get_model(name, weights="DEFAULT", progress=False)
    finally:
        socket.setdefaulttimeout(before)


def timm_network(name: str) -> Any:
    """A network with untrained weights."""
    import timm

    return timm.create_model(name, pretrained=False)


def read_state_dict(path: Path) -> dict[str, Any]:
    """Weights by name, from a safetensors file or one of torch's.

    Raises
    ------
    UserError
        It holds anything else.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        import torch

        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"image_backbone: '{path}' cannot be read as weights ({type(error).__name__}).") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(hasattr(value, "shape") for value in state.values()):
        raise UserError(f"image_backbone: '{path}' holds no state dict.")
    return state


def candidates(stem: str) -> list[tuple[str, Callable[[], Any]]]:
    """Networks whose name a file's name begins with, the longest name first."""
    import timm
    import torchvision

    libraries = {
        "torchvision": (torchvision.models.list_models(module=torchvision.models), torchvision_network),
        "timm": (timm.list_models(), timm_network),
    }
    found = [
        (library, name, build)
        for library, (names, build) in libraries.items()
        for name in names
        if stem.startswith(name)
    ]
    found.sort(key=lambda candidate: -len(candidate[1]))
    return [(f"{library}/{name}", partial(build, name)) for library, name, build in found]


def headless(network: Any) -> Any:
    """The network with its classifier replaced, so that it returns the vector that the classifier would get."""
    import torch

    if hasattr(network, "reset_classifier"):  # timm
        network.reset_classifier(0)
        return network
    for attribute in ("fc", "head", "heads", "classifier"):
        layer = getattr(network, attribute, None)
        if isinstance(layer, torch.nn.Linear):
            setattr(network, attribute, torch.nn.Identity())
            return network
        if isinstance(layer, torch.nn.Sequential):
            if isinstance(layer[-1], torch.nn.Linear):
                layer[-1] = torch.nn.Identity()
            else:  # SqueezeNet classifies by a convolution
                setattr(network, attribute, torch.nn.AdaptiveAvgPool2d(1))
            return torch.nn.Sequential(network, torch.nn.Flatten())
    raise UserError(f"image_backbone: {type(network).__name__} has no classifier that can be taken off.")
