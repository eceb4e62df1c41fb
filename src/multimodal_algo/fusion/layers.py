"""The layers of the fusion network, and the scaling of its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import nn

_FLOOR = 1e-4
LOG_RANGE = float(-np.log(_FLOOR))
"""The difference between the logarithms of the inputs 0 and 1."""
LINEAR = (0, 3, 6)
"""Numbers of the linear layers in `first_layers`."""


def layer_sizes(branches: int, n_classes: int) -> list[tuple[int, int]]:
    """Return the number of inputs and outputs of each linear layer of the fusion network."""
    width = branches * n_classes
    first, second = 2 * width // 3 + n_classes, width // 3 + n_classes
    return [(width, first), (first, second), (second, n_classes)]


def first_layers(branches: int, n_classes: int, *, seed: int) -> nn.Sequential:
    """Return the untrained layers of the fusion network. The last one is 0, so that the network begins as its pool.

    A pool is a weighted product of votes, to whose result the network adds its own. Training puts dropout after each
    hidden layer.
    """
    import torch  # serving does without it
    from torch import nn

    first, second, last = layer_sizes(branches, n_classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Sequential(
            nn.Linear(*first), nn.ReLU(), nn.Identity(),
            nn.Linear(*second), nn.ReLU(), nn.Identity(),
            nn.Linear(*last),
        )  # fmt: skip
    nn.init.zeros_(layers[-1].weight)  # type: ignore[arg-type]
    nn.init.zeros_(layers[-1].bias)  # type: ignore[arg-type]
    return layers


def scaled_logs(probabilities: np.ndarray) -> np.ndarray:
    """Return logarithms of probabilities, scaled to lie between 0 and 1, float32 of the same shape.

    A probability of 1e-4 or less becomes 0, and a probability of 1 becomes 1.
    """
    return np.asarray(np.log(np.maximum(probabilities, _FLOOR)) / LOG_RANGE + 1.0, dtype=np.float32)
