"""The base of frozen pretrained networks, which turn images and texts into vectors."""

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
    """A frozen network in evaluation mode, on a GPU if there is one. Torch runs it until `use_graph` is called.

    A subclass defines how cells become inputs, and the module that torch runs. Callers use `encode`. The module is made
    when it is needed: a network that another engine runs does without it, and without the import of torch.

    Parameters
    ----------
    stored
        Description of the directory that the network comes from, by which engines are checked. Without it torch's
        vectors are what engines are checked by.

    Attributes
    ----------
    kind
        Name of the class in the description of a network's directory.
    allows_bf16
        Whether answers stay the same where the network computes in bfloat16. ``docs/networks.md`` has the figures.
    """

    kind: ClassVar[str]
    allows_bf16: ClassVar[bool]

    def __init__(self, stored: NetworkDescription | None = None) -> None:
        self._stored = stored
        self._graph: Graph | None = None

    @cached_property
    def has_gpu(self) -> bool:
        """Whether the network is on a GPU."""
        return torch_has_gpu()

    @property
    def device(self) -> str:
        """The name of the network's device, as torch has it."""
        return "cuda" if self.has_gpu else "cpu"

    @cached_property
    def width(self) -> int:
        """Number of entries of a vector."""
        return self._expected.shape[1] if self._stored is None else self._stored.width

    @cached_property
    def _expected(self) -> np.ndarray:
        """The vectors of the probe's cells: those of the training, or torch's."""
        return self._on_cpu() if self._stored is None else self._stored.vectors

    def _on_cpu(self) -> np.ndarray:
        """Return torch's vectors of the probe's cells, computed on the CPU. A GPU would compute in half precision."""
        import torch

        inputs = self._inputs(self._probe())
        with torch.inference_mode():
            module = self._exportable(list(inputs)).eval()
            return module(*map(torch.from_numpy, inputs.values())).float().numpy()

    def round_weights(self) -> None:
        """Round the weights to float16, so that training uses what the artifact stores. See `stored.round_weights`."""
        difference = round_weights(self.network, self._on_cpu)
        for name in ("_module", "_expected"):  # made from the weights as they were
            self.__dict__.pop(name, None)
        if difference is None:
            _LOG.info("the %s network keeps its weights in float32, since float16 changes its vectors", self.kind)

    def save(self, directory: Path) -> None:
        """Write the weights, what turns cells into inputs, and the description. See `networks.stored`."""
        directory.mkdir(parents=True, exist_ok=True)
        self._write(directory)
        self.describe(directory)

    def describe(self, directory: Path) -> None:
        """Write the description, with the present engine as that of the training."""
        description = NetworkDescription.of(self.kind, self._expected, self._settings())
        if self._graph is not None:
            description = description.trained_by(self.engine, self._graph(self._inputs(self._probe())))
        description.write(directory)

    def export_onnx(self, path: Path) -> None:
        """Write the network as an ONNX graph, which turns the arrays of `_inputs` into vectors.

        The graph refers to the weights that `save` wrote into its directory.

        Raises
        ------
        Unavailable
            See `engines.export_onnx`.
        """
        import torch

        example = {name: torch.from_numpy(value) for name, value in self._inputs(self._probe()).items()}
        # Arrays of two dimensions hold tokens.
        axes = {name: {0: "rows", **({1: "tokens"} if value.ndim == 2 else {})} for name, value in example.items()}
        export_onnx(self._exportable(list(example)).eval(), example, axes, path)
        share_weights(path)

    @property
    def engine(self) -> str:
        """Name of the engine that runs the network."""
        return "torch" if self._graph is None else self._graph.name

    def use_graph(self, path: Path, engine: Engine, *, has_gpu: bool = False) -> None:
        """Run the network's ONNX graph from now on.

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
            The graph cannot be run here, or its vectors differ from those of the training, or torch's.
        """
        probe = Probe(self._inputs(self._probe()), self._expected)
        self._graph = probe.load_graph(path, engine, allows_bf16=self.allows_bf16, has_gpu=has_gpu)
        self._compare_with_training(self._graph(probe.inputs))

    def _compare_with_training(self, vectors: np.ndarray) -> None:
        """Warn if the vectors of the probe's cells differ from those by the engine of the training."""
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
        """Run the network by torch from now on.

        Raises
        ------
        UserError
            The network comes from a directory, and torch's vectors differ from those of the training.
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
        """Return the vectors of each batch of cells, in order."""
        if (graph := self._graph) is not None:
            return run_batches(lambda cells: graph(self._inputs(cells)), batches, by_core=graph.is_on_cpu)
        import torch

        _ = self._module  # made once, before several threads need it
        # Where torch has one thread on a CPU, as in a server, each core runs a batch of its own.
        return run_batches(self._by_torch, batches, by_core=not self.has_gpu and torch.get_num_threads() == 1)

    def _by_torch(self, cells: Sequence[Any]) -> np.ndarray:
        """Return torch's vectors of a batch of cells, float32 (cells, width)."""
        import torch

        with torch.inference_mode(), torch.autocast(self.device, dtype=torch.float16, enabled=self.has_gpu):
            inputs = [torch.from_numpy(value).to(self.device) for value in self._inputs(cells).values()]
            return self._module(*inputs).float().cpu().numpy()

    @cached_property
    def _module(self) -> torch.nn.Module:
        """The network on its device, as a module whose arguments are the arrays of `_inputs`."""
        return self._fastest().eval().to(self.device)

    @property
    def encoder(self) -> Encoder:
        """`encode`, with what `build_features` has to know about the network."""
        return self.encode

    @abstractmethod
    def encode(self, cells: Sequence[Any]) -> np.ndarray:
        """Return the vectors of cells, float32 (cells, width)."""

    @property
    @abstractmethod
    def network(self) -> torch.nn.Module:
        """The network as its library has it, with weights in float32."""

    @abstractmethod
    def _exportable(self, names: list[str]) -> torch.nn.Module:
        """Return the network on the CPU, as a module whose arguments are the inputs `names`."""

    @abstractmethod
    def _fastest(self) -> torch.nn.Module:
        """Return the module for torch, whose arguments are the arrays of `_inputs`."""

    @abstractmethod
    def _probe(self) -> list[Any]:
        """Return a few cells, to compare engines. They are the same in every process."""

    @abstractmethod
    def _inputs(self, cells: Sequence[Any]) -> dict[str, np.ndarray]:
        """Return the arrays that a graph or module gets for cells, by the names of the graph's inputs."""

    @abstractmethod
    def _write(self, directory: Path) -> None:
        """Write the weights, and what turns cells into inputs, into a directory that exists."""

    def _settings(self) -> dict[str, Any]:
        """Return the settings of the network for its description."""
        return {}
