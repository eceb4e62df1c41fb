"""The guide's fusion network: input, two hidden layers of 2/3 and 1/3 of the input plus n, softmax.

Its inputs are the logarithms of the votes. Its output is added to the logits of a pool, which is fitted first. On
little data the network is equal to that pool. It differs only where this improves held-out rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.special import softmax

from multimodal_algo.config.recipes import DEFAULT_NETWORK, NetworkSettings
from multimodal_algo.fusion.combiners import Combiner, Pool, Tensors

if TYPE_CHECKING:
    from torch import nn

_FLOOR = 1e-4
_MOST_STEPS = 100
# Numbers of the linear layers in `_layers`.
_LINEAR = (0, 3, 6)


class Network(Combiner):
    """The network and its pool. Torch trains it, and predictions do without torch, whose import takes seconds."""

    name = "network"

    def __init__(self, pool: Pool, layers: Tensors) -> None:
        self._pool = pool
        self._layers = layers

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
        import torch
        from torch import nn

        pool = Pool.fit(vectors, labels)
        offsets = torch.from_numpy(np.log(np.maximum(pool.predict(vectors), 1e-12)))
        inputs, targets = torch.from_numpy(_inputs(vectors)), torch.from_numpy(labels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers = _layers(vectors.shape[1], vectors.shape[2], settings.dropout)
        # The arrays share the memory of the layers.
        network = cls(pool, {name: value.numpy() for name, value in layers.state_dict().items()})
        optimizer = torch.optim.AdamW(
            layers.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        order = torch.Generator().manual_seed(seed)
        batch_size = max(1, settings.batch_size, len(inputs) // _MOST_STEPS)
        yield network
        while True:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(torch.randint(2**31, (1,), generator=order)))
                for batch in torch.randperm(len(inputs), generator=order).split(batch_size):
                    optimizer.zero_grad()
                    logits = offsets[batch] + layers(inputs[batch])
                    nn.functional.cross_entropy(logits, targets[batch]).backward()
                    optimizer.step()
            yield network

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """See `Combiner.predict`."""
        logits = np.log(np.maximum(self._pool.predict(vectors), 1e-12)) + self._scores(_inputs(vectors))
        return softmax(logits, axis=1)

    def _scores(self, values: np.ndarray) -> np.ndarray:
        """Return the output of the layers, float32 (rows, n)."""
        first, second, last = _LINEAR
        for layer in (first, second):
            values = np.maximum(self._linear(layer, values), 0)
        return self._linear(last, values)

    def _linear(self, layer: int, values: np.ndarray) -> np.ndarray:
        return values @ self._layers[f"{layer}.weight"].T + self._layers[f"{layer}.bias"]

    def tensors(self) -> dict[str, np.ndarray]:
        """See `Combiner.tensors`."""
        layers = {f"layers.{name}": value for name, value in self._layers.items()}
        return {**layers, **{f"pool.{name}": value for name, value in self._pool.tensors().items()}}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """See `Combiner.from_tensors`."""
        pool = Pool.from_tensors({name[5:]: value for name, value in tensors.items() if name.startswith("pool.")})
        return cls(pool, {name[7:]: value for name, value in tensors.items() if name.startswith("layers.")})


def _layers(branches: int, n_classes: int, dropout: float) -> nn.Sequential:
    from torch import nn

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
