"""Image networks of the library torchvision: found by name or by weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.files import sha256
from multimodal_algo.ingest.image_input import IMAGENET, ImageInput
from multimodal_algo.networks.image_info import BackboneInfo
from multimodal_algo.networks.state_dict import shapes

_DOWNLOAD_TIMEOUT_S = 10
_CLASSIFIERS = ("fc", "head", "heads", "classifier")
# torchvision passes the first argument with its trained weights, and these two warn without the second.
_ARGUMENTS = {
    "inception_v3": {"transform_input": True, "init_weights": True},
    "googlenet": {"transform_input": True, "init_weights": True},
}


def torchvision_names() -> list[str]:
    """Return the names of torchvision's networks that classify images."""
    import torchvision

    return torchvision.models.list_models(module=torchvision.models)


def torchvision_network(name: str, *, seed: int = 0, settings: Mapping[str, Any] | None = None) -> Any:
    """Return a torchvision network with random weights. The same seed gives the same weights.

    Parameters
    ----------
    name
        Name of the network.
    seed
        Seed of the weights.
    settings
        Further arguments of the network.
    """
    import torch
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torchvision.models.get_model(name, weights=None, **_ARGUMENTS.get(name, {}), **(settings or {}))


def untrained_network(name: str, *, seed: int) -> tuple[BackboneInfo, Any]:
    """Return a torchvision network with random weights, and its description."""
    takes = next((takes for _, takes in _variants(name)), IMAGENET)
    settings = _settings(name, takes)
    network = without_classifier(torchvision_network(name, seed=seed, settings=settings))
    return BackboneInfo(f"torchvision/{name}", "untrained", False, takes, settings), network


def download_network(name: str) -> tuple[BackboneInfo, Any]:
    """Return a torchvision network with trained weights, and its description.

    The weights come from torchvision's cache, or torchvision downloads them.

    Raises
    ------
    OSError
        The download fails.
    """
    import socket

    import torchvision

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)
    try:
        network = torchvision.models.get_model(name, weights="DEFAULT", progress=False)
    finally:
        socket.setdefaulttimeout(before)
    takes = next(takes for _, takes in _variants(name))
    info = BackboneInfo(f"torchvision/{name}", "torchvision", True, takes, _settings(name, takes))
    return info, without_classifier(network)


def fitting_network(name: str, state: Mapping[str, Any], path: Path) -> tuple[BackboneInfo, Any] | None:
    """Return a torchvision network with the weights of a file, and its description. None if they do not suit it.

    The classifier in the file may be for other classes. Torchvision has several sets of weights for most networks, and
    some of them take images of another size. The file's hash shows which set it is, as in the names of torchvision's
    files.

    Parameters
    ----------
    name
        Name of the network.
    state
        Weights in the file.
    path
        The file.
    """
    variants = list(_variants(name)) or [("", IMAGENET)]
    digest = sha256(path)[:8]
    variants.sort(key=lambda variant: not variant[0].endswith(f"-{digest}"))
    for _, takes in variants:
        settings = _settings(name, takes)
        network = torchvision_network(name, settings=settings)
        if (fitting := _with_own_classifier(network.state_dict(), state)) is not None:
            network.load_state_dict(fitting)
            info = BackboneInfo(f"torchvision/{name}", path.name, True, takes, settings)
            return info, without_classifier(network)
    return None


def _variants(name: str) -> Iterator[tuple[str, ImageInput]]:
    """Yield torchvision's sets of weights for a network, the default first: file name and image size of each."""
    import torchvision

    weights = torchvision.models.get_model_weights(name)
    other_weights = [entry for entry in weights if entry is not weights.DEFAULT]
    for entry in [weights.DEFAULT, *other_weights]:
        transform = entry.transforms()
        yield (
            Path(entry.url).stem,
            ImageInput(
                side=transform.crop_size[0],
                resize=transform.resize_size[0],
                interpolation=transform.interpolation.value,
                mean=tuple(transform.mean),
                std=tuple(transform.std),
            ),
        )


def _settings(name: str, takes: ImageInput) -> dict[str, Any]:
    # The others take images of any size.
    return {"image_size": takes.side} if name.startswith("vit_") else {}


def _with_own_classifier(own: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the weights of a file. If its classifier has other classes, use the network's `own` classifier instead.

    None if the weights do not suit the network.
    """
    expected, given = shapes(own), shapes(state)
    if expected.keys() != given.keys():
        return None
    other_weights = {key for key in expected if expected[key] != given[key]}
    if any(not key.startswith(_CLASSIFIERS) or expected[key][1:] != given[key][1:] for key in other_weights):
        return None
    return {**state, **{key: own[key] for key in other_weights}}


def without_classifier(network: Any) -> Any:
    """Change a torchvision network so that it returns vectors instead of classes, and return the network.

    The vectors are the input of its classifier, which is removed.

    Raises
    ------
    UserError
        The network has a classifier of an unknown kind.
    """
    import torch

    for attribute in _CLASSIFIERS:
        layer = getattr(network, attribute, None)
        if isinstance(layer, torch.nn.Linear):
            setattr(network, attribute, torch.nn.Identity())
            return network
        if isinstance(layer, torch.nn.Sequential):
            if isinstance(layer[-1], torch.nn.Linear):
                layer[-1] = torch.nn.Identity()
            else:  # the classifier of SqueezeNet is a convolution
                setattr(network, attribute, torch.nn.AdaptiveAvgPool2d(1))
            return torch.nn.Sequential(network, torch.nn.Flatten())
    raise UserError(
        f"image_backbone: {type(network).__name__} has no classifier that can be taken off. Use another network."
    )
