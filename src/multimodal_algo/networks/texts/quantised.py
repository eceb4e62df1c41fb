"""Layers whose weights have 4 bits. Every block of 32 weights has a common factor, its scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

BLOCK = 32
# Number of bytes of a block in a file: a scale, float16, and two weights a byte.
_BLOCK_BYTES = 2 + BLOCK // 2


def unpack_blocks(raw: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Split the bytes of a file into packed weights, uint8 (rows, blocks, 16), and scales, float16 (rows, blocks)."""
    blocks = raw.reshape(rows, -1, _BLOCK_BYTES)
    return np.ascontiguousarray(blocks[..., 2:]), np.ascontiguousarray(blocks[..., :2]).view(np.float16)[..., 0]


def expand(packed: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Return the weights, float32 (…, 32 * blocks), that packed weights, uint8 (…, blocks, 16), and scales stand for.

    The low bits of the bytes are the first half of a block. Arithmetic is used instead of shifts, because only newer
    versions of ONNX have shifts.
    """
    values = packed.float()
    high = torch.floor(values / 16)
    weights = torch.cat([values - 16 * high, high], dim=-1) - 8
    return (weights * scales.float().unsqueeze(-1)).flatten(-2)


class QuantisedEmbedding(nn.Module):
    """A table of token vectors with 4 bits per number. Only rows that are looked up are expanded to float32."""

    packed: torch.Tensor
    scales: torch.Tensor

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.register_buffer("packed", torch.zeros((rows, width // BLOCK, BLOCK // 2), dtype=torch.uint8))
        self.register_buffer("scales", torch.zeros((rows, width // BLOCK), dtype=torch.float16))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the vectors of tokens, float32 (…, width). `ids` are the tokens' IDs, int64 (…)."""
        return expand(self.packed[ids], self.scales[ids])


class QuantisedLinear(nn.Module):
    """A linear layer whose weights have 4 bits. They are expanded to float32 once, at the first call."""

    packed: torch.Tensor
    scales: torch.Tensor

    def __init__(self, entries: int, width: int) -> None:
        super().__init__()
        self.register_buffer("packed", torch.zeros((width, entries // BLOCK, BLOCK // 2), dtype=torch.uint8))
        self.register_buffer("scales", torch.zeros((width, entries // BLOCK), dtype=torch.float16))
        self.bias = nn.Parameter(torch.zeros(width))
        self._weight: torch.Tensor | None = None

    @property
    def weight(self) -> torch.Tensor:
        """The weights of the layer in float32 (width, entries), expanded from 4 bits."""
        if torch.jit.is_tracing():
            return expand(self.packed, self.scales)  # a graph holds the packed ones
        if self._weight is None or self._weight.device != self.packed.device:
            self._weight = expand(self.packed, self.scales)
        return self._weight

    def forward(self, entries: torch.Tensor) -> torch.Tensor:
        """Compute the layer, with the result of ``torch.nn.Linear``."""
        return functional.linear(entries, self.weight, self.bias)


def quantise_structure(network: Any) -> Any:
    """Replace the token table and the linear layers of a ``BertModel`` by layers with 4 bits. Return the network.

    The new layers have no weights until a state dict is loaded.
    """
    table = network.embeddings.word_embeddings
    network.embeddings.word_embeddings = QuantisedEmbedding(table.num_embeddings, table.embedding_dim)
    for module in list(network.encoder.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(module, name, QuantisedLinear(layer.in_features, layer.out_features))
    return network


def expand_structure(network: Any) -> Any:
    """Replace the layers with 4 bits by torch's own layers with the same weights. Return the network."""
    for module in list(network.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, QuantisedEmbedding):
                setattr(module, name, nn.Embedding.from_pretrained(expand(layer.packed, layer.scales), freeze=False))
            elif isinstance(layer, QuantisedLinear):
                dense = nn.Linear(layer.weight.shape[1], layer.weight.shape[0])
                dense.load_state_dict({"weight": layer.weight, "bias": layer.bias})
                setattr(module, name, dense)
    return network
