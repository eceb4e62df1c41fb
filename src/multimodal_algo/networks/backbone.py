"""The base of frozen pretrained networks, which turn images and texts into vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.config.inference import Engine
from multimodal_algo.ingest.features import Encoder
from multimodal_algo.networks.engines import OnnxNetwork, export_onnx, require_equal, run_batches

if TYPE_CHECKING:
    import torch


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

    @property
    def encoder(self) -> Encoder:
        """`encode`, with what `build_features` has to know about the network."""
        return self.encode

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


def halves_on_gpu(device: torch.device) -> Any:
    """Return the context in which torch computes in half precision on a GPU."""
    import torch

    return torch.autocast(device.type, dtype=torch.float16, enabled=device.type == "cuda")
