"""Finds the image network that a name or a path means.

``docs/networks.md`` explains the order of the search to users.
"""

from __future__ import annotations

import difflib
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

from multimodal_algo.core.errors import UserError, reason_of
from multimodal_algo.networks.embedded import EMBEDDED, embedded_network
from multimodal_algo.networks.hub import NotOnHub, download, is_hub_id
from multimodal_algo.networks.image_info import BackboneInfo
from multimodal_algo.networks.state_dict import SUFFIXES, read_state_dict
from multimodal_algo.networks.timm_networks import (
    hub_id_of,
    is_timm_name,
    timm_directory,
    timm_names,
    timm_network,
    untrained_timm_network,
)
from multimodal_algo.networks.torchvision_networks import (
    download_network,
    fitting_network,
    torchvision_names,
    torchvision_network,
    untrained_network,
    without_classifier,
)
from multimodal_algo.networks.transformers_images import transformers_network, untrained_transformers_network

_LOG = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
"""The file of weights in a directory of an image network."""
_EXPORTED = "backbone.json"
_CONFIG = "config.json"
_SHOWN = 8


def find_image_network(name: str, *, weights_dir: Path, allow_untrained: bool, seed: int) -> tuple[BackboneInfo, Any]:
    """Find an image network and its weights by name or path.

    The search has this order:

    1. a directory at the path `name`, here or in `weights_dir`: an exported network (see `training.continuing.export`),
       or one that timm or transformers wrote,
    2. a state dict (file of weights) at the path `name`, here or in `weights_dir`,
    3. a state dict in `weights_dir` whose file name begins with `name`,
    4. weights that are installed with this package,
    5. weights in torchvision's cache, or downloaded by torchvision,
    6. weights of timm, or of another network, from the Hugging Face hub,
    7. untrained weights.

    Parameters
    ----------
    name
        Name of a network of torchvision or timm, id of a network on the hub, or a path.
    weights_dir
        Directory with the weights that are built into the container image.
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
        The name is unknown, a file does not suit a known network, or there are no weights.
    """
    for directory in (Path(name), weights_dir / name):
        if directory.is_dir():
            return _network_in(directory)
    if (path := _weights_file(name, weights_dir)) is not None:
        return _network_with(path)
    if name in EMBEDDED:
        return embedded_network(name)
    try:
        if name in torchvision_names():
            return download_network(name)
        with tempfile.TemporaryDirectory() as scratch:
            return _network_in(download(hub_id_of(name), Path(scratch)))
    except (OSError, NotOnHub) as error:
        if is_hub_id(name):
            raise UserError(
                f"image_backbone: there is no directory '{name}', here or in {weights_dir}, and the hub does not give "
                f"such a network ({error}). Bake it into the image by make weights, or give the path of a network."
            ) from None
        _accept_untrained(name, weights_dir, allow_untrained, str(error)[:120])
    if name in torchvision_names():
        return untrained_network(name, seed=seed)
    return untrained_timm_network(name, seed=seed)


def _accept_untrained(name: str, weights_dir: Path, allow_untrained: bool, reason: str) -> None:
    """Warn that a network has untrained weights. Raise an error instead if such weights are not allowed."""
    remedy = (
        f"leave image_backbone out, put the network's state dict as {name}.pth into {weights_dir} (or into the folder "
        "that WEIGHTS_DIR names), or give the path of a state dict as image_backbone"
    )
    if not allow_untrained:
        raise UserError(f"image_backbone: no weights for '{name}' can be had here ({reason}): {remedy}.") from None
    _LOG.warning("image_backbone: NO WEIGHTS FOR '%s' CAN BE HAD (%s).", name, reason)
    _LOG.warning("image_backbone: going on with UNTRAINED weights, since quality is toy. For real use, %s.", remedy)


def _network_in(directory: Path) -> tuple[BackboneInfo, Any]:
    """Return the image network in a directory that this project, timm or transformers wrote, and its description."""
    if (directory / _EXPORTED).is_file():
        return _exported_network(directory)
    try:
        content = json.loads((directory / _CONFIG).read_text(encoding="utf-8"))
        return timm_directory(directory) if "architecture" in content else transformers_network(directory)
    except Exception as error:  # libraries raise exceptions of any kind for foreign files
        files = ", ".join(sorted(path.name for path in directory.iterdir())[:_SHOWN]) or "nothing"
        raise UserError(
            f"image_backbone: '{directory}' holds {files}, which cannot be read as an image network "
            f"({reason_of(error, 150)}). It "
            "takes config.json and model.safetensors as timm writes them, or config.json, preprocessor_config.json and "
            "model.safetensors as transformers writes them."
        ) from None


def _exported_network(directory: Path) -> tuple[BackboneInfo, Any]:
    from pydantic import TypeAdapter

    try:
        content = (directory / _EXPORTED).read_text(encoding="utf-8")
        info = TypeAdapter(BackboneInfo).validate_json(content)
        return info, read_image_network(directory, info)
    except Exception as error:  # libraries raise exceptions of any kind for foreign files
        raise UserError(
            f"image_backbone: '{directory}' cannot be read as an exported network ({reason_of(error, 150)})."
        ) from None


def _network_with(path: Path) -> tuple[BackboneInfo, Any]:
    """Return the image network that a file of weights belongs to, with these weights, and its description."""
    state = read_state_dict(path)
    for library, name in _candidates(path.stem):
        if library == "torchvision":
            if (fitting := fitting_network(name, state, path)) is not None:
                return fitting
            continue
        try:
            info, network = timm_network(name, state=state)
        except (RuntimeError, KeyError, TypeError):  # torch refuses weights that do not fit by a RuntimeError
            continue
        return BackboneInfo(info.architecture, path.name, True, info.takes, info.settings), network
    raise UserError(
        f"image_backbone: the weights in '{path.name}' fit no network of torchvision or timm by that name. "
        "Let the file's name begin with the network's, as in resnet50-mine.pth."
    )


def read_image_network(directory: Path, info: BackboneInfo) -> Any:
    """Read the network with this description from the directory of an artifact or export. It has no classifier."""
    from safetensors.torch import load_file

    network = image_network(info)
    network.load_state_dict(load_file(directory / WEIGHTS))
    return network


def image_network(info: BackboneInfo) -> Any:
    """Build the network with this description, with untrained weights and without its classifier."""
    library, _, name = info.architecture.partition("/")
    if library == "torchvision":
        return without_classifier(torchvision_network(name, settings=info.settings))
    if library == "transformers":
        return untrained_transformers_network(name, info.settings)
    description = info.settings.get("description", {})
    arguments = {**info.settings.get("arguments", {}), "num_classes": 0}
    return timm_network(name, description=description, arguments=arguments)[1]


def _weights_file(name: str, weights_dir: Path) -> Path | None:
    """Return the weights file called `name`, or the one in `weights_dir` whose name begins with `name`, or None.

    Raises
    ------
    UserError
        `name` is a path, and there is no such file. Or no library has a network with this name.
    """
    if Path(name).suffix in SUFFIXES or "/" in name:
        for path in (Path(name), weights_dir / name):
            if path.is_file():
                return path
        if Path(name).suffix not in SUFFIXES and is_hub_id(name):
            return None
        raise UserError(
            f"image_backbone: there is no file '{name}', here or in {weights_dir}. "
            "Give the path of a state dict, of a directory with a network, or a name."
        )
    _check_name(name)
    matches = (path for path in sorted(weights_dir.glob(f"{name}*")) if path.suffix in SUFFIXES)
    # The file of resnet50d is not one of resnet50.
    return next((path for path in matches if name in (known for _, known in _candidates(path.stem)[:2])), None)


def _check_name(name: str) -> None:
    names = [*EMBEDDED, *torchvision_names()]
    if name not in names and not is_timm_name(name):
        close = [
            *difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.8),
            *difflib.get_close_matches(name.lower(), timm_names(), n=1, cutoff=0.4),
        ]
        hint = f"did you mean '{close[0]}'?" if close else "use a name such as resnet50, or leave it out."
        raise UserError(f"image_backbone: neither torchvision nor timm has a network '{name}': {hint}")


def _candidates(stem: str) -> list[tuple[str, str]]:
    """Return the networks with whose names a file name begins, as library and name. The longest name comes first."""
    libraries = {"torchvision": torchvision_names(), "timm": timm_names()}
    matches = [(library, name) for library, names in libraries.items() for name in names if stem.startswith(name)]
    return sorted(matches, key=lambda match: -len(match[1]))
