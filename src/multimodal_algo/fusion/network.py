"""The guide's fusion network: an input layer, hidden layers of 2/3 and 1/3 of the inputs plus n, and a softmax.

Its inputs are the logarithms of the votes. Its output is added to the logits of a pool (a weighted product of the
votes), which is fitted first. With little data the network equals its pool. It differs only where this improves the
predictions of held-out rows.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from multimodal_algo.config.recipes import DEFAULT_NETWORK, NetworkSettings
from multimodal_algo.core.softmax import softmax
from multimodal_algo.fusion.combiners import Combiner, Pool, Tensors
from multimodal_algo.fusion.layers import LINEAR, scaled_logs
from multimodal_algo.fusion.votes import Votes


class Network(Combiner):
    """The fusion network together with its pool, as a combiner.

    Torch trains it, but predictions do not need torch, whose import takes seconds.
    """

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
        """Train the fusion network for `epochs` epochs, see `Combiner.fit`.

        `NetworkSearch` finds the best number of epochs.
        """
        from multimodal_algo.fusion.lockstep import Examples, Lockstep, Member  # serving does without torch

        pool, pattern = Pool.fit(vectors, labels), tuple(range(vectors.shape[1]))
        examples = Examples.of(Votes(np.pad(vectors, ((0, 0), (0, 0), (0, 1)))), [pattern])
        member = Member(np.arange(len(vectors)), {pattern: pool})
        lockstep = Lockstep(examples, labels, [member], [pattern], seed=seed, settings=settings)
        for _ in range(epochs):
            lockstep.train_epoch()
        return cls(pool, lockstep.layers_for(0, pattern))

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Return the combined probabilities, see `Combiner.predict`."""
        inputs = scaled_logs(vectors).reshape(len(vectors), -1)
        logits = np.log(np.maximum(self._pool.predict(vectors), 1e-12)) + self._scores(inputs)
        return softmax(logits)

    def _scores(self, values: np.ndarray) -> np.ndarray:
        """Return the output of the network's layers, float32 (rows, n), for scaled inputs."""
        first, second, last = LINEAR
        for layer in (first, second):
            values = np.maximum(self._linear(layer, values), 0)
        return self._linear(last, values)

    def _linear(self, layer: int, values: np.ndarray) -> np.ndarray:
        return values @ self._layers[f"{layer}.weight"].T + self._layers[f"{layer}.bias"]

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the weights of the layers and of the pool, see `Combiner.tensors`."""
        layers = {f"layers.{name}": value for name, value in self._layers.items()}
        return {**layers, **{f"pool.{name}": value for name, value in self._pool.tensors().items()}}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """Return the network that is stored in `tensors`, see `Combiner.from_tensors`."""
        pool = Pool.from_tensors({name[5:]: value for name, value in tensors.items() if name.startswith("pool.")})
        return cls(pool, {name[7:]: value for name, value in tensors.items() if name.startswith("layers.")})
