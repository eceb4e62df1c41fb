"""Training of several fusion networks at once: one for each fold (fitted without it), and one for all rows.

All networks take each step together, which is faster. Each network serves all patterns (sets of branches that vote on a
row). The inputs of a branch without a vote are 0. The network's output is added to the logits of a pool that was fitted
for the row's pattern. Each epoch repeats some rows with votes left out, so that the network also learns patterns that
no training row has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from multimodal_algo.config.recipes import NetworkSettings
from multimodal_algo.fusion.combiners import Pool
from multimodal_algo.fusion.layers import LINEAR, LOG_RANGE, first_layers, scaled_logs
from multimodal_algo.fusion.patterns import Pattern, masks_of
from multimodal_algo.fusion.votes import Votes

# An epoch of many rows has steps of up to four times as many rows as the setting, and at most 200 of them.
_STEPS, _LARGEST, _MOST_STEPS = 25, 4, 200
# Share of the rows that an epoch repeats with fewer votes.
_REPEATED = 0.25
# The networks predict by averaged weights. Each epoch brings them half of the way to its own weights.
_NEW = 0.5


@dataclass(frozen=True)
class Examples:
    """Rows in the form that the fusion networks take.

    Parameters
    ----------
    inputs
        Scaled logarithms of the votes, float32 (rows, branches, n). They are 0 if a branch has no vote.
    patterns
        Number of each row's pattern (set of voting branches), int64 (rows,). It is -1 for a pattern that the networks
        do not know.
    """

    inputs: torch.Tensor
    patterns: torch.Tensor

    @classmethod
    def of(cls, votes: Votes, patterns: Sequence[Pattern]) -> Examples:
        """Return votes as examples.

        `patterns` are the sets of branches (partial models) for which the networks are trained.
        """
        matches = (votes.speaking[:, None] == masks_of(patterns, votes.branches)).all(axis=2)
        numbers = np.where(matches.any(axis=1), matches.argmax(axis=1), -1)
        return cls(torch.from_numpy(scaled_logs(votes.array[:, :, :-1])), torch.from_numpy(numbers))


@dataclass(frozen=True)
class Member:
    """One of the networks that are trained together.

    Parameters
    ----------
    rows
        Positions of the rows that this network learns from, int (m,).
    pools
        The pool for each pattern (set of voting branches), fitted to these rows.
    """

    rows: np.ndarray
    pools: Mapping[Pattern, Pool]


class Lockstep:
    """Several fusion networks that take each training step together.

    They have the same first weights and the same dropout, but do not influence each other. For predictions, the weights
    of each network are averaged over epochs. This is better on held-out rows, and changes less from one epoch to the
    next (Izmailov et al., 2018, "Averaging Weights Leads to Wider Optima and Better Generalization").

    Parameters
    ----------
    examples
        Training rows of all networks.
    learned
        Class indices, int64 (rows,), or shares of the classes, float32 (rows, n).
    members
        The networks.
    patterns
        The patterns (sets of voting branches) that the networks know.
    repeated
        Patterns to which votes of rows are reduced when rows are repeated.
    seed
        Seed of the first weights, the order of the rows and dropout.
    settings
        Settings of the optimiser.
    """

    def __init__(
        self,
        examples: Examples,
        learned: np.ndarray,
        members: Sequence[Member],
        patterns: Sequence[Pattern],
        *,
        repeated: Sequence[Pattern] = (),
        seed: int,
        settings: NetworkSettings,
    ) -> None:
        self._examples, self._targets, self._dropout = examples, torch.from_numpy(learned), settings.dropout
        self._pools = _Pools(members, patterns, examples.inputs.shape[1])
        self._random = torch.Generator().manual_seed(seed)
        self._layers = _stacked(first_layers(*examples.inputs.shape[1:], seed=seed), len(members))
        self._averages = [layer.detach().clone() for layer in self._layers]
        self._optimizer = torch.optim.AdamW(
            self._layers, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self._order = _Order(examples, members, _subsets(patterns, repeated), settings.batch_size, seed)

    def train_epoch(self) -> None:
        """Train all networks for one epoch."""
        for rows, patterns, shares in self._order.steps():
            inputs, pooled = self._pools(slice(None), self._examples.inputs[rows], patterns)
            logits = pooled + self._scores(self._layers, inputs, self._dropout)
            targets = self._targets[rows].flatten(0, 1)
            losses = nn.functional.cross_entropy(logits.flatten(0, 1), targets, reduction="none")
            self._optimizer.zero_grad()
            (losses * shares.flatten()).sum().backward()
            self._optimizer.step()
        for average, layer in zip(self._averages, self._layers, strict=True):
            average.lerp_(layer.detach(), _NEW)

    @torch.no_grad()
    def log_probabilities(self, member: int, inputs: torch.Tensor, patterns: torch.Tensor) -> np.ndarray:
        """Return the logarithms of one network's predictions, float32 (rows, n).

        `inputs` are scaled votes, (rows, branches, n). `patterns` has for each row the number of its set of voting
        branches.
        """
        only = slice(member, member + 1)
        inputs, pooled = self._pools(only, inputs[None], patterns[None])
        logits = pooled + self._scores([layer[only] for layer in self._averages], inputs)
        return np.asarray(torch.log_softmax(logits[0], dim=1).numpy())

    def _scores(self, layers: Sequence[torch.Tensor], inputs: torch.Tensor, dropout: float = 0.0) -> torch.Tensor:
        """Return the output of all networks, (members, rows, n), for inputs (members, rows, branches, n)."""
        values = inputs.flatten(2)
        for weight, bias in ((layers[0], layers[1]), (layers[2], layers[3])):
            values = torch.baddbmm(bias, values, weight).relu_()
            if dropout:
                kept = torch.empty(1, *values.shape[1:]).bernoulli_(1 - dropout, generator=self._random)
                values = values * kept.div_(1 - dropout)
        return torch.baddbmm(layers[5], values, layers[4])

    def weights(self) -> list[torch.Tensor]:
        """Return a copy of the present averaged weights of all networks."""
        return [average.clone() for average in self._averages]

    def use(self, weights: list[torch.Tensor]) -> None:
        """Make predictions with the averaged weights that `weights` returned.

        Training still continues from its last step.
        """
        self._averages = weights

    def layers_for(self, member: int, pattern: Pattern) -> dict[str, np.ndarray]:
        """Return the layers of one network by name, as `Network` takes them.

        Only inputs of the pattern's branches are kept.
        """
        branches, classes = self._examples.inputs.shape[1:]
        weights = [average[member] for average in self._averages]
        weights[0] = weights[0].view(branches, classes, -1)[list(pattern)].flatten(0, 1)
        layers = {}
        for number, weight, bias in zip(LINEAR, weights[::2], weights[1::2], strict=True):
            layers[f"{number}.weight"] = weight.T.contiguous().numpy()
            layers[f"{number}.bias"] = bias[0].clone().numpy()
        return layers


class _Pools:
    """The pools (weighted products of votes) of all networks as arrays, so that one operation applies them all."""

    def __init__(self, members: Sequence[Member], patterns: Sequence[Pattern], branches: int) -> None:
        self._masks = torch.from_numpy(masks_of(patterns, branches).astype(np.float32))
        biases = [[member.pools[pattern].bias for pattern in patterns] for member in members]
        self._biases = torch.from_numpy(np.array(biases, dtype=np.float32))
        self._weights = torch.zeros(len(members), len(patterns), branches)
        for number, member in enumerate(members):
            for other, pattern in enumerate(patterns):
                self._weights[number, other, list(pattern)] = torch.from_numpy(
                    LOG_RANGE * member.pools[pattern].weights
                )

    @torch.no_grad()
    def __call__(
        self, members: slice, inputs: torch.Tensor, patterns: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the inputs, with 0 for votes that the row's pattern leaves out, and the logits that the pools give."""
        inputs = inputs * self._masks[patterns][..., None]
        weights, biases = self._weights[members], self._biases[members]
        own = torch.arange(len(weights))[:, None]
        return inputs, (inputs * weights[own, patterns][..., None]).sum(dim=2) + biases[own, patterns]


class _Order:
    """The order in which the networks see their rows: which rows each step of an epoch takes."""

    def __init__(
        self, examples: Examples, members: Sequence[Member], subsets: list[np.ndarray], batch_size: int, seed: int
    ) -> None:
        self._patterns = examples.patterns.numpy()
        self._counts = counts = np.array([len(own) for own in subsets])
        self._subsets = np.zeros((len(subsets), max(1, *counts)), dtype=np.int64)
        for number, own in enumerate(subsets):
            self._subsets[number, : len(own)] = own
        self._rows = [member.rows[self._patterns[member.rows] >= 0] for member in members]
        self._wider = [rows[counts[self._patterns[rows]] > 0] for rows in self._rows]
        sizes = [len(rows) + int(_REPEATED * len(wider)) for rows, wider in zip(self._rows, self._wider, strict=True)]
        steps = -(-max(sizes) // _step_size(max(sizes), batch_size))
        slots = [_slots(size, steps, -(-max(sizes) // steps)) for size in sizes]
        self._slots, self._shares = np.stack([slot for slot, _ in slots]), np.stack([share for _, share in slots])
        self._generators = [np.random.default_rng(seed) for _ in members]

    def steps(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yield for each step of an epoch its rows, int64 (members, n), their patterns, and their loss shares."""
        drawn = [self._draw(*each) for each in zip(self._rows, self._wider, self._slots, self._generators, strict=True)]
        rows, patterns = (torch.from_numpy(np.stack(each, axis=1)) for each in zip(*drawn, strict=True))
        yield from zip(rows, patterns, torch.from_numpy(self._shares.swapaxes(0, 1)), strict=True)

    def _draw(
        self, rows: np.ndarray, wider: np.ndarray, slots: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of an epoch for one network, and the set of voting branches of each, both int64 (steps, n).

        Some rows are repeated with some of their votes left out.
        """
        again = generator.choice(wider, int(_REPEATED * len(wider)), replace=False)
        whole = self._patterns[again]
        fewer = self._subsets[whole, generator.integers(self._counts[whole])]
        all_rows, patterns = np.concatenate([rows, again]), np.concatenate([self._patterns[rows], fewer])
        order = generator.permutation(len(all_rows))[slots]
        return all_rows[order], patterns[order]


def _step_size(size: int, batch_size: int) -> int:
    return max(1, batch_size, min(_LARGEST * batch_size, size // _STEPS), size // _MOST_STEPS)


def _slots(size: int, steps: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Deal `size` examples to steps.

    Return the numbers of each step's examples, int (steps, width), and their loss shares.

    The shares are float32 of the same shape. Unused places of a step have share 0.
    """
    bounds = np.arange(steps + 1) * size // steps
    numbers = bounds[:-1, None] + np.arange(width)
    is_used = numbers < bounds[1:, None]
    shares = is_used / np.maximum(is_used.sum(axis=1, keepdims=True), 1)
    return np.where(is_used, numbers, 0), shares.astype(np.float32)


def _subsets(patterns: Sequence[Pattern], repeated: Sequence[Pattern]) -> list[np.ndarray]:
    """Return for each pattern (set of branches) the numbers of the `repeated` patterns inside it, each int64 (n,)."""
    return [
        np.array([n for n, other in enumerate(patterns) if other in repeated and set(other) < set(own)], dtype=np.int64)
        for own in patterns
    ]


def _stacked(layers: nn.Sequential, members: int) -> list[torch.Tensor]:
    """Return weights, (members, inputs, outputs), and biases, (members, 1, outputs), of each linear layer in turn."""
    values, stacked = layers.state_dict(), []
    for number in LINEAR:
        for value in (values[f"{number}.weight"].T, values[f"{number}.bias"][None]):
            stacked.append(value.repeat(members, 1, 1).contiguous().requires_grad_())
    return stacked
