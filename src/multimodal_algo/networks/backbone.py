"""The base class of frozen pretrained networks, which turn images and texts into vectors."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from multimodal_algo.config.inference import Engine
from multimodal_algo.core.errors import UserError
from multimodal_algo.ingest.features import Encoder
from multimodal_algo.networks.engines import (
    TOLERANCE,
    Graph,
    Unavailable,
    export_onnx,
    require_equal,
    run_batches,
)
from multimodal_algo.networks.graphs import Probe, torch_has_gpu
from multimodal_algo.networks.stored import NetworkDescription, round_weights, share_of_largest, share_weights

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger(__name__)


class Backbone(ABC):
    """A frozen network that turns cells (texts or images) into vectors, on a GPU if there is one.

    Torch computes it until `use_graph` is called. Callers use `encode`. A subclass defines how cells become the
    network's inputs, and the torch module. The module is only made when torch needs it, so that other engines work
    without torch.

    Parameters
    ----------
    stored
        Description of the directory that the network was read from, with known vectors of a few cells (the probe).
        Every engine must reproduce them. Without it, an engine must reproduce torch's vectors.

    Attributes
    ----------
    kind
        Name of the subclass in the description of a network's directory.
    allows_bf16
        Whether predictions stay the same if the network computes in bfloat16. ``docs/networks.md`` has the figures.
    """

    kind: ClassVar[str]
    allows_bf16: ClassVar[bool]

    def __init__(self, stored: NetworkDescription | None = None) -> None:
        self._stored = stored
        self._graph: Graph | None = None

    @cached_property
    def has_gpu(self) -> bool:
        """Whether torch computes the network on a GPU."""
        return torch_has_gpu()

    @property
    def device(self) -> str:
        """Torch's name of the device that computes the network: ``cuda`` or ``cpu``."""
        return "cuda" if self.has_gpu else "cpu"

    @cached_property
    def width(self) -> int:
        """Number of entries of a vector that the network returns."""
        return self._expected.shape[1] if self._stored is None else self._stored.width

    @cached_property
    def _expected(self) -> np.ndarray:
        """The vectors that every engine must reproduce: those in the description, otherwise torch's."""
        return self._on_cpu() if self._stored is None else self._stored.vectors

    def _on_cpu(self) -> np.ndarray:
        """Return torch's vectors of the probe (a few fixed cells), computed on the CPU.

        A GPU would use half precision.
        """
        import torch

        inputs = self._inputs(self._probe())
        with torch.inference_mode():
            module = self._exportable(list(inputs)).eval()
            return module(*map(torch.from_numpy, inputs.values())).float().numpy()

    def round_weights(self) -> None:
        """Round the weights to float16, as the artifact stores them, so that training and serving use the same.

        See `stored.round_weights`.
        """
        difference = round_weights(self.network, self._on_cpu)
        for name in ("_module", "_expected"):  # made from the weights as they were
            self.__dict__.pop(name, None)
        if difference is None:
            _LOG.info("the %s network keeps its weights in float32, since float16 changes its vectors", self.kind)

    def save(self, directory: Path) -> None:
        """Write the network into a directory: weights, tokeniser or image size, and description.

        See `networks.stored`.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self._write(directory)
        self.describe(directory)

    def describe(self, directory: Path) -> None:
        """Write the description of the network, with the present engine as the one that training has used."""
        description = NetworkDescription.of(self.kind, self._expected, self._settings())
        if self._graph is not None:
            description = description.trained_by(self.engine, self._graph(self._inputs(self._probe())))
        description.write(directory)

    def export_onnx(self, path: Path) -> None:
        """Write the network as an ONNX graph, which other engines than torch can compute.

        The inputs of the graph are those of `_inputs`. The graph refers to the weights that `save` wrote into its
        directory.

        Raises
        ------
        Unavailable
            The network cannot be exported, see `engines.export_onnx`.
        """
        import torch

        example = {name: torch.from_numpy(value) for name, value in self._inputs(self._probe()).items()}
        # Arrays of two dimensions hold tokens.
        axes = {name: {0: "rows", **({1: "tokens"} if value.ndim == 2 else {})} for name, value in example.items()}
        export_onnx(self._exportable(list(example)).eval(), example, axes, path)
        share_weights(path)

    @property
    def engine(self) -> str:
        """Name of the engine that computes the network."""
        return "torch" if self._graph is None else self._graph.name

    def use_graph(self, path: Path, engine: Engine, *, has_gpu: bool = False) -> None:
        """Compute the network from its ONNX graph from now on, with another engine than torch.

        Parameters
        ----------
        path
            File of the graph.
        engine
            The engine, see `Probe.load_graph`.
        has_gpu
            Whether torch has a GPU here.

        Raises
        ------
        Unavailable
            No engine can compute the graph here, or the vectors differ from the expected ones.
        """
        probe = Probe(self._inputs(self._probe()), self._expected)
        self._graph = probe.load_graph(path, engine, allows_bf16=self.allows_bf16, has_gpu=has_gpu)
        self._compare_with_training(self._graph(probe.inputs))

    def _compare_with_training(self, vectors: np.ndarray) -> None:
        """Warn if this engine's vectors of the probe (a few fixed cells) differ from those that training has used."""
        if self._stored is None:
            return
        difference = share_of_largest(vectors, self._stored.trained_vectors)
        if not difference <= TOLERANCE:  # False for NaN
            _LOG.warning(
                "the %s network: vectors by %s differ by %.2g of the largest entry from those by %s, which the model "
                "was trained on. Answers may be less exact",
                self.kind, self.engine, difference, self._stored.engine,
            )  # fmt: skip

    def use_torch(self) -> None:
        """Compute the network with torch from now on.

        Raises
        ------
        UserError
            The network was read from a directory, and torch does not reproduce the vectors in its description.
        """
        self._graph = None
        if self._stored is None:
            return
        try:
            vectors = self._by_torch(self._probe())
            require_equal(vectors, self._expected)
        except Unavailable as reason:
            raise UserError(
                f"The {self.kind} network of the artifact does not work as in training: {reason}. "
                "Download the artifact again, or train again."
            ) from None
        self._compare_with_training(vectors)

    def _vectors(self, batches: Sequence[Sequence[Any]]) -> Iterable[np.ndarray]:
        """Return the vectors of each batch of cells, in order, computed by the present engine."""
        if (graph := self._graph) is not None:
            return run_batches(lambda cells: graph(self._inputs(cells)), batches, by_core=graph.is_on_cpu)
        import torch

        _ = self._module  # made once, before several threads need it
        # Where torch has one thread on a CPU, as in a server, each core runs a batch of its own.
        return run_batches(self._by_torch, batches, by_core=not self.has_gpu and torch.get_num_threads() == 1)

    def _by_torch(self, cells: Sequence[Any]) -> np.ndarray:
        """Return the vectors of a batch of cells, float32 (cells, width), computed by torch."""
        import torch

        with torch.inference_mode(), torch.autocast(self.device, dtype=torch.float16, enabled=self.has_gpu):
            inputs = [torch.from_numpy(value).to(self.device) for value in self._inputs(cells).values()]
            return self._module(*inputs).float().cpu().numpy()

    @cached_property
    def _module(self) -> torch.nn.Module:
        """The network as a torch module on its device. Its arguments are the arrays of `_inputs`."""
        return self._fastest().eval().to(self.device)

    @property
    def encoder(self) -> Encoder:
        """The function `encode`. For images it also has the size of images that `build_features` must know."""
        return self.encode

    @abstractmethod
    def encode(self, cells: Sequence[Any]) -> np.ndarray:
        """Return a vector for each cell (text or image), float32 (cells, width)."""

    @property
    @abstractmethod
    def network(self) -> torch.nn.Module:
        """The network as its own library builds it, with weights in float32."""

    @abstractmethod
    def _exportable(self, names: list[str]) -> torch.nn.Module:
        """Return the network on the CPU as a module that can be exported. Its arguments are the inputs `names`."""

    @abstractmethod
    def _fastest(self) -> torch.nn.Module:
        """Return the module that torch computes fastest. Its arguments are the arrays of `_inputs`."""

    @abstractmethod
    def _probe(self) -> list[Any]:
        """Return a few fixed cells, with which engines are compared. They are the same in every process."""

    @abstractmethod
    def _inputs(self, cells: Sequence[Any]) -> dict[str, np.ndarray]:
        """Convert cells into the arrays that a graph or module takes, by name of the input."""

    @abstractmethod
    def _write(self, directory: Path) -> None:
        """Write the weights, and the tokeniser or image size, into an existing directory."""

    def _settings(self) -> dict[str, Any]:
        """Return the settings that the network's description stores, from which the network can be built again."""
        return {}
