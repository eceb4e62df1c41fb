"""The guide's fusion network: input, two hidden layers of 2/3 and 1/3 of the input plus n, softmax.

Its inputs are the logarithms of the votes. Its output is added to the logits of a pool, which is fitted first. On
little data the network is equal to that pool. It differs only where this improves held-out rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np
import torch
from torch import nn

from multimodal_algo.config.recipes import DEFAULT_NETWORK, NetworkSettings
from multimodal_algo.fusion.combiners import Combiner, Pool, Tensors

_FLOOR = 1e-4
_MOST_STEPS = 100


class Network(Combiner):
    """The network and its pool."""

    name = "network"

    def __init__(self, pool: Pool, layers: nn.Sequential) -> None:
        self._pool = pool
        self._layers = layers.eval()

    @classmethod
    def fit(
        cls,
        vectors: np.ndarray,
        labels: np.ndarray,
        *,
        epochs: int = 10,
        seed: int = 0,
        settings: NetworkSettings = DEFAULT_NETWORK,
    ) -> Self:
        """Train for `epochs` epochs. `per_epoch` helps to find how many are best."""
        network = None
        for number, network in enumerate(cls.per_epoch(vectors, labels, seed=seed, settings=settings)):  # noqa: B007
            if number == epochs:
                break
        assert network is not None
        return network

    @classmethod
    def per_epoch(
        cls, vectors: np.ndarray, labels: np.ndarray, *, seed: int, settings: NetworkSettings
    ) -> Iterator[Self]:
        """Yield the same network before the first epoch and after each epoch, without end."""
        pool = Pool.fit(vectors, labels)
        offsets = torch.from_numpy(np.log(np.maximum(pool.predict(vectors), 1e-12)))
        inputs, targets = torch.from_numpy(_inputs(vectors)), torch.from_numpy(labels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = cls(pool, _layers(vectors.shape[1], vectors.shape[2], settings.dropout))
        optimizer = torch.optim.AdamW(
            network._layers.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        order = torch.Generator().manual_seed(seed)
        batch_size = max(1, settings.batch_size, len(inputs) // _MOST_STEPS)
        yield network
        while True:
            network._layers.train()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(torch.randint(2**31, (1,), generator=order)))
                for batch in torch.randperm(len(inputs), generator=order).split(batch_size):
                    optimizer.zero_grad()
                    logits = offsets[batch] + network._layers(inputs[batch])
                    nn.functional.cross_entropy(logits, targets[batch]).backward()
                    optimizer.step()
            network._layers.eval()
            yield network

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """See `Combiner.predict`."""
        offsets = torch.from_numpy(np.log(np.maximum(self._pool.predict(vectors), 1e-12)))
        with torch.inference_mode():
            return torch.softmax(offsets + self._layers(torch.from_numpy(_inputs(vectors))), dim=1).numpy()

    def tensors(self) -> dict[str, np.ndarray]:
        """See `Combiner.tensors`."""
        layers = {f"layers.{name}": value.numpy() for name, value in self._layers.state_dict().items()}
        return {**layers, **{f"pool.{name}": value for name, value in self._pool.tensors().items()}}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """See `Combiner.from_tensors`."""
        pool = Pool.from_tensors({name[5:]: value for name, value in tensors.items() if name.startswith("pool.")})
        state = {name[7:]: torch.tensor(value) for name, value in tensors.items() if name.startswith("layers.")}
        layers = _layers(len(tensors["pool.weights"]), len(tensors["pool.bias"]))
        layers.load_state_dict(state)
        return cls(pool, layers)


def _layers(branches: int, n_classes: int, dropout: float = 0.0) -> nn.Sequential:
    width = branches * n_classes
    first, second = 2 * width // 3 + n_classes, width // 3 + n_classes
    layers = nn.Sequential(
        nn.Linear(width, first), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(first, second), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(second, n_classes),
    )  # fmt: skip
    nn.init.zeros_(layers[-1].weight)  # type: ignore[arg-type]
    nn.init.zeros_(layers[-1].bias)  # type: ignore[arg-type]
    return layers


def _inputs(vectors: np.ndarray) -> np.ndarray:
    logs = np.log(np.maximum(vectors, _FLOOR))
    return ((logs - np.log(_FLOOR)) / -np.log(_FLOOR)).reshape(len(vectors), -1).astype(np.float32)
