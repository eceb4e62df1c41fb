"""Frozen text networks, which turn texts into vectors."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.ingest.features import Encoder
from multimodal_algo.networks.backbone import Backbone
from multimodal_algo.networks.engines import Graph, run_batches
from multimodal_algo.networks.stored import DESCRIPTION, NetworkDescription
from multimodal_algo.networks.texts.blocks import MASK, batches_by_length, block_batches, padded
from multimodal_algo.networks.texts.find import find_text_network
from multimodal_algo.networks.texts.library import EMBEDDED
from multimodal_algo.networks.texts.network import TextInfo, TextNetwork

if TYPE_CHECKING:
    import torch

# The activations of larger batches fit neither a CPU's caches nor the memory that the allocator holds.
_CPU_TEXTS, _GPU_TEXTS = 32, 256
_CPU_CHARACTERS = 1000
# The tokens of so many texts are in memory at once.
_CHUNK = 1024


class TextBackbone(Backbone):
    """A frozen text network, which turns texts into vectors.

    Parameters
    ----------
    network
        The network with its tokeniser.
    stored
        Description of the directory that the network was read from, see `Backbone`.
    """

    kind = "text"
    allows_bf16 = True

    def __init__(self, network: TextNetwork, stored: NetworkDescription | None = None) -> None:
        super().__init__(stored)
        self._network = network

    @property
    def info(self) -> TextInfo:
        """The name of the network and its languages."""
        return self._network.info

    @property
    def network(self) -> torch.nn.Module:
        """The torch module of the network, see `Backbone.network`."""
        return self._network.module

    @classmethod
    def resolve(cls, name: str, weights_dir: Path | None = None) -> TextBackbone:
        """Find a text network by its name, or read one from a directory that `save` has written.

        See `find_text_network` for the parameters and the errors.
        """
        if (Path(name) / DESCRIPTION).is_file():
            return cls.load(Path(name))
        backbone = cls(find_text_network(name, weights_dir))
        if name in EMBEDDED:  # a user's own network keeps its vectors to the last digit
            backbone.round_weights()
        return backbone

    @classmethod
    def load(cls, directory: Path) -> TextBackbone:
        """Load the network that `save` has written into `directory`. Weights are read only when they are needed.

        Raises
        ------
        UserError
            The description of the network cannot be read, see `NetworkDescription.read`.
        """
        stored = NetworkDescription.read(directory)
        return cls(TextNetwork.load(directory, stored), stored)

    def save_for_transformers(self, directory: Path) -> bool:
        """Write the network in the form that transformers reads, see `TextNetwork.save_for_transformers`."""
        return self._network.save_for_transformers(directory)

    def encode(self, cells: Sequence[str]) -> np.ndarray:
        """Return a vector for each text, float32 (texts, width)."""
        if not cells:
            return np.empty((0, self.width), dtype=np.float32)
        graph = self._graph
        if graph is not None and graph.is_rounded and self._network.has_attention:
            parts = [cells[start : start + _CHUNK] for start in range(0, len(cells), _CHUNK)]
            return np.concatenate([self._encode_blocks(graph, part) for part in parts])
        vectors = np.empty((len(cells), self.width), dtype=np.float32)
        most_texts, most_characters = (_GPU_TEXTS, None) if self.has_gpu else (_CPU_TEXTS, _CPU_CHARACTERS)
        batches = batches_by_length([len(cell) for cell in cells], most_texts, most_characters)
        encoded = self._vectors([[cells[row] for row in rows] for rows in batches])
        for rows, batch in zip(batches, encoded, strict=True):
            vectors[rows] = batch
        return vectors

    def _encode_blocks(self, graph: Graph, cells: Sequence[str]) -> np.ndarray:
        """Return a vector for each text. The padding of a text depends only on the text itself, see `texts.blocks`."""
        inputs = self._inputs(cells)
        batches = block_batches(inputs[MASK], self._network.max_tokens)
        encoded = run_batches(lambda batch: graph(padded(inputs, *batch)), batches, by_core=graph.is_on_cpu)
        vectors = np.empty((len(cells), self.width), dtype=np.float32)
        for (rows, _), batch in zip(batches, encoded, strict=True):
            vectors[rows] = batch
        return vectors

    def _fastest(self) -> torch.nn.Module:
        return self.network

    def _exportable(self, names: list[str]) -> torch.nn.Module:
        return copy.deepcopy(self.network).cpu()

    def _probe(self) -> list[str]:
        return ["a probe", "a second and rather longer probe, so that the first is padded to its length"]

    def _inputs(self, cells: Sequence[str]) -> dict[str, np.ndarray]:
        return self._network.tokens(cells)

    def _write(self, directory: Path) -> None:
        self._network.write(directory)

    def _settings(self) -> dict[str, Any]:
        return self._network.settings()


def joined(backbones: Sequence[TextBackbone]) -> Encoder:
    """Return a function that joins the vectors of all `backbones` for each text.

    Several vectors are brought to length 1 first, so that all networks count the same.
    """
    if len(backbones) == 1:
        return backbones[0].encode

    def encode(cells: Sequence[str]) -> np.ndarray:
        return np.concatenate([_with_length_1(backbone.encode(cells)) for backbone in backbones], axis=1)

    return encode


def _with_length_1(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
