"""Frozen text networks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal_algo.ingest.features import Encoder
from multimodal_algo.networks.backbone import Backbone, halves_on_gpu
from multimodal_algo.networks.texts.find import find_text_network
from multimodal_algo.networks.texts.network import TextNetwork

if TYPE_CHECKING:
    import torch

# The activations of larger batches fit neither a CPU's caches nor the memory that the allocator holds.
_CPU_TEXTS, _GPU_TEXTS = 32, 256
_CPU_CHARACTERS = 1000


class TextBackbone(Backbone):
    """A text network, as an encoder of texts.

    Parameters
    ----------
    network
        The network.

    Attributes
    ----------
    width
        Number of entries of a vector.
    """

    def __init__(self, network: TextNetwork) -> None:
        import torch

        super().__init__(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        self.network = network
        self._module = network.module.to(self._device)
        self.width = int(self._by_torch(self._probe()[:1]).shape[1])

    @classmethod
    def resolve(cls, name: str) -> TextBackbone:
        """Find the network of this name. See `find_text_network` for the names and errors."""
        return cls(find_text_network(name))

    def save(self, directory: Path) -> None:
        """Write the network into `directory`, for `resolve`."""
        self.network.save(directory)

    def encode(self, cells: Sequence[str]) -> np.ndarray:
        """Return the vectors of texts, float32 (texts, width)."""
        if not cells:
            return np.empty((0, self.width), dtype=np.float32)
        vectors = np.empty((len(cells), self.width), dtype=np.float32)
        batches = self._batches([len(cell) for cell in cells])
        encoded = self._vectors([[cells[row] for row in rows] for rows in batches])
        for rows, batch in zip(batches, encoded, strict=True):
            vectors[rows] = batch
        return vectors

    def _batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Return the rows of each batch. Texts of about the same length need little padding."""
        most_texts, most_characters = (_GPU_TEXTS, None) if self.has_gpu else (_CPU_TEXTS, _CPU_CHARACTERS)
        batches: list[list[int]] = []
        for row in sorted(range(len(lengths)), key=lengths.__getitem__):
            last = batches[-1] if batches else []
            is_full = most_characters is not None and (len(last) + 1) * lengths[row] > most_characters
            if not last or is_full or len(last) == most_texts:
                batches.append([row])
            else:
                last.append(row)
        return batches

    def _exportable(self, names: list[str]) -> torch.nn.Module:
        return copy.deepcopy(self._module).cpu() if self.has_gpu else self._module

    def _probe(self) -> list[str]:
        return ["a probe", "a second and rather longer probe, so that the first is padded to its length"]

    def _inputs(self, cells: Sequence[str]) -> dict[str, np.ndarray]:
        return self.network.tokens(cells)

    def _by_torch(self, cells: Sequence[str]) -> np.ndarray:
        import torch

        inputs = {name: torch.from_numpy(array).to(self._device) for name, array in self._inputs(cells).items()}
        with torch.inference_mode(), halves_on_gpu(self._device):
            return self._module(**inputs).float().cpu().numpy()


def joined(backbones: Sequence[TextBackbone]) -> Encoder:
    """Return the encoder that joins the vectors of one or more networks, each with length 1 where there are several."""
    if len(backbones) == 1:
        return backbones[0].encode

    def encode(cells: Sequence[str]) -> np.ndarray:
        return np.concatenate([_with_length_1(backbone.encode(cells)) for backbone in backbones], axis=1)

    return encode


def _with_length_1(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
