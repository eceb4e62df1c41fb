"""The library of image networks: networks of torchvision and timm, found by their names or by files of weights."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from multimodal_algo.core.errors import UserError

_LOG = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
"""The file of weights in a directory of an image network."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of the red, green and blue pixels of ImageNet, by which every network here was trained."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of these pixels."""
_EXPORTED = "backbone.json"
_WEIGHT_SUFFIXES = (".pth", ".pt", ".safetensors")
_DOWNLOAD_TIMEOUT_S = 10
# Networks of torchvision that timm has under another name.
_TIMM_NAMES = {"mobilenet_v2": "mobilenetv2_100"}
# Beginnings of the names of networks whose parameters have one order in both libraries.
_SAME_IN_TIMM = ("resnet", "mobilenetv2_100")


@dataclass(frozen=True)
class BackboneInfo:
    """Description of an image backbone, for the artifact.

    Parameters
    ----------
    architecture
        ``torchvision/<name>`` or ``timm/<name>``.
    source
        Origin of the weights: ``torchvision``, ``untrained`` or the name of a file.
    pretrained
        Whether the weights are trained. Only quality ``toy`` goes on with untrained weights.
    """

    architecture: str
    source: str
    pretrained: bool


def find_image_network(name: str, *, weights_dir: Path, allow_untrained: bool, seed: int) -> tuple[BackboneInfo, Any]:
    """Find an image network and its weights.

    These are looked for in this order:

    1. an exported network at the path `name`, see `training.continuing.export`,
    2. a state dict at the path `name`, here or in `weights_dir`,
    3. a state dict in `weights_dir` whose file name begins with `name`,
    4. weights in torchvision's cache, or downloaded by torchvision,
    5. untrained weights.

    Parameters
    ----------
    name
        Name of a network of torchvision, or a path.
    weights_dir
        Directory of baked-in weights.
    allow_untrained
        Whether untrained weights may be used.
    seed
        Seed of untrained weights.

    Returns
    -------
    tuple
        Description of the network, and the network without its classifier.

    Raises
    ------
    UserError
        The name is unknown, a file does not fit a known network, or there are no weights.
    """
    if (Path(name) / _EXPORTED).is_file():
        return _exported_network(Path(name))
    if (path := _weights_file(name, weights_dir)) is not None:
        return _network_with(path)
    architecture = f"torchvision/{name}"
    try:
        return BackboneInfo(architecture, "torchvision", True), without_classifier(download_network(name))
    except OSError as error:
        _accept_untrained(name, weights_dir, allow_untrained, str(error)[:120])
    network = torchvision_network(name, seed=seed)
    return BackboneInfo(architecture, "untrained", False), without_classifier(network)


def _accept_untrained(name: str, weights_dir: Path, allow_untrained: bool, reason: str) -> None:
    """Warn that a network has untrained weights, or raise an error unless they are allowed."""
    remedy = (
        f"put its state dict as {name}.pth into {weights_dir} (or into the folder that WEIGHTS_DIR names), "
        "or give the path of a state dict as image_backbone"
    )
    if not allow_untrained:
        raise UserError(f"image_backbone: no weights for '{name}' can be had here ({reason}): {remedy}.") from None
    _LOG.warning("image_backbone: NO WEIGHTS FOR '%s' CAN BE HAD (%s).", name, reason)
    _LOG.warning("image_backbone: going on with UNTRAINED weights, since quality is toy. For real use, %s.", remedy)


def _exported_network(directory: Path) -> tuple[BackboneInfo, Any]:
    try:
        content = json.loads((directory / _EXPORTED).read_text(encoding="utf-8"))
        info = BackboneInfo(content["architecture"], content["source"], content["pretrained"])
        return info, read_image_network(directory, info)
    except Exception as error:  # libraries raise exceptions of any kind for foreign files
        reason = f"{type(error).__name__}: {error}".split("\n")[0][:150]
        raise UserError(f"image_backbone: '{directory}' cannot be read as an exported network ({reason}).") from None


def _network_with(path: Path) -> tuple[BackboneInfo, Any]:
    """Return the network that the weights in a file fit, with these weights."""
    state = read_state_dict(path)
    for architecture, build in candidates(path.stem):
        network = build()
        expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
        if expected == {key: tuple(value.shape) for key, value in state.items()}:
            network.load_state_dict(state)
            return BackboneInfo(architecture, path.name, True), without_classifier(network)
    raise UserError(
        f"image_backbone: the weights in '{path.name}' fit no network of torchvision or timm by that name. "
        "Let the file's name begin with the network's, as in resnet50-mine.pth."
    )


def read_image_network(directory: Path, info: BackboneInfo) -> Any:
    """Return a network without its classifier, with the weights of an artifact's or an export's directory."""
    from safetensors.torch import load_file

    library, _, name = info.architecture.partition("/")
    network = without_classifier(torchvision_network(name) if library == "torchvision" else timm_network(name))
    network.load_state_dict(load_file(directory / WEIGHTS))
    return network


def _weights_file(name: str, weights_dir: Path) -> Path | None:
    """Return the file of a state dict: the file `name`, or one in `weights_dir` whose name begins with it.

    None where no file of `weights_dir` does.

    Raises
    ------
    UserError
        `name` is a path, and there is no such file. Or torchvision does not have a network of this name.
    """
    if Path(name).suffix in _WEIGHT_SUFFIXES or "/" in name:
        for path in (Path(name), weights_dir / name):
            if path.is_file():
                return path
        raise UserError(
            f"image_backbone: there is no file '{name}', here or in {weights_dir}. "
            "Give the path of a state dict or a name."
        )
    check_name(name)
    matches = (path for path in sorted(weights_dir.glob(f"{name}*")) if path.suffix in _WEIGHT_SUFFIXES)
    return next(matches, None)


def check_name(name: str) -> None:
    """Refuse a name that torchvision does not have.

    Raises
    ------
    UserError
        The name is unknown. The message has the nearest name of torchvision.
    """
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.4)
        hint = f"did you mean '{close[0]}'?" if close else "use a name such as resnet50 or mobilenet_v2."
        raise UserError(f"image_backbone: torchvision has no network '{name}': {hint}")


def torchvision_network(name: str, *, seed: int = 0) -> Any:
    """Return a network of torchvision with untrained weights, the same for the same seed."""
    import torch
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # Without the argument, these two warn about a slow initialisation.
        extra = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        return torchvision.models.get_model(name, weights=None, **extra)


def download_network(name: str) -> Any:
    """Return a network with the weights that torchvision has in its cache, or downloads.

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
        return torchvision.models.get_model(name, weights="DEFAULT", progress=False)
    finally:
        socket.setdefaulttimeout(before)


def timm_network(name: str) -> Any:
    """Return a network of timm with untrained weights."""
    import timm

    return timm.create_model(name, pretrained=False)


def read_state_dict(path: Path) -> dict[str, Any]:
    """Return the weights in a file of safetensors or of torch, by their names.

    Raises
    ------
    UserError
        The file holds something else.
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
        raise UserError(f"image_backbone: '{path}' does not hold a state dict. Save the network's state_dict().")
    return state


def candidates(stem: str) -> list[tuple[str, Callable[[], Any]]]:
    """Return the networks with whose name a file's name begins, the longest name first.

    Parameters
    ----------
    stem
        Name of the file without its ending.

    Returns
    -------
    list of tuple
        Architecture, such as ``timm/resnet50``, and a function that makes the network with untrained weights.
    """
    import timm
    import torchvision

    libraries = {
        "torchvision": (torchvision.models.list_models(module=torchvision.models), torchvision_network),
        "timm": (timm.list_models(), timm_network),
    }
    matches = [
        (library, name, build)
        for library, (names, build) in libraries.items()
        for name in names
        if stem.startswith(name)
    ]
    matches.sort(key=lambda match: -len(match[1]))
    return [(f"{library}/{name}", partial(build, name)) for library, name, build in matches]


def without_classifier(network: Any) -> Any:
    """Change the network so that it returns the vectors that its classifier gets, and return it.

    Raises
    ------
    UserError
        The network has a classifier of an unknown kind.
    """
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
            else:  # the classifier of SqueezeNet is a convolution
                setattr(network, attribute, torch.nn.AdaptiveAvgPool2d(1))
            return torch.nn.Sequential(network, torch.nn.Flatten())
    raise UserError(
        f"image_backbone: {type(network).__name__} has no classifier that can be taken off. Use another network."
    )


def write_for_timm(network: Any, architecture: str, directory: Path) -> bool:
    """Write the weights of a network as AutoMM's ``timm_image`` reads them.

    torchvision's ResNets have timm's names. The parameters of its MobileNetV2 are in timm's order.

    Parameters
    ----------
    network
        Network without its classifier.
    architecture
        ``torchvision/<name>`` or ``timm/<name>``.
    directory
        Directory for the files, made when missing.

    Returns
    -------
    bool
        Whether timm has the network. Otherwise nothing is written.
    """
    import timm
    import torch

    library, _, name = architecture.partition("/")
    name = name if library == "timm" else _TIMM_NAMES.get(name, name)
    if library != "timm" and not name.startswith(_SAME_IN_TIMM):
        return False
    copy = timm.create_model(name, pretrained=False, num_classes=0)
    weights = [value.cpu() for value in network.state_dict().values()]
    expected = copy.state_dict()
    if [tuple(value.shape) for value in weights] != [tuple(value.shape) for value in expected.values()]:
        return False
    copy.load_state_dict(dict(zip(expected, weights, strict=True)))
    directory.mkdir(parents=True, exist_ok=True)
    torch.save(copy.state_dict(), directory / "pytorch_model.bin")
    _write_timm_config(name, copy.num_features, directory / "config.json")
    return True


def _write_timm_config(name: str, width: int, path: Path) -> None:
    pretrained = {"input_size": [3, 224, 224], "mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}
    config = {
        "architecture": name,
        "num_features": width,
        "pretrained_cfg": {"architecture": name, **pretrained},
    }
    path.write_text(json.dumps(config) + "\n", encoding="utf-8")
