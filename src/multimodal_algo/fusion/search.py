"""The search for the best number of epochs of the fusion network, and for the patterns where the network helps.

A pattern is the set of branches that vote on a row. Both are decided on held-out rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from multimodal_algo.config.recipes import DEFAULT_NETWORK, NetworkSettings
from multimodal_algo.core.budget import Budget
from multimodal_algo.fusion.calibration import log_loss, smoothed_log_loss
from multimodal_algo.fusion.folds import HeldOut, OutOfFold
from multimodal_algo.fusion.known import KnownRows, suiting
from multimodal_algo.fusion.layers import layer_sizes
from multimodal_algo.fusion.lockstep import Examples, Lockstep, Member
from multimodal_algo.fusion.network import Network
from multimodal_algo.fusion.patterns import Pattern, partial_patterns

_PATIENCE = 8
# The most products of weights and rows that a network may cost, and the epochs that it takes to learn anything.
_MOST_PRODUCTS, _LEAST_EPOCHS = 1e10, 5
# With fewer rows for each input, a network learns noise.
_ROWS_PER_INPUT = 5
# The most rows that decide whether a pattern has a network.
_MOST_ASKED = 4_000
_TINY = 1e-9


@dataclass(frozen=True)
class Split:
    """A division of the rows: known rows that combiners are fitted to, and held-out rows that they predict.

    Parameters
    ----------
    known
        Rows that combiners are fitted to.
    asked
        Positions of the held-out rows, int (n,).
    """

    known: KnownRows
    asked: np.ndarray


@dataclass(frozen=True)
class FusionSettings:
    """How the combiners of a fusion are fitted.

    Parameters
    ----------
    max_epochs
        Largest number of epochs of the fusion network, from the hyperparameter ``n_epochs``.
    network
        Settings of the network's training.
    seed
        Seed of the network's first weights, order and dropout.
    """

    max_epochs: int
    network: NetworkSettings = DEFAULT_NETWORK
    seed: int = 0


@dataclass(frozen=True)
class NetworkSearch:
    """The fusion networks of all splits and of all rows, and the choice where to use them.

    Parameters
    ----------
    rows
        Training rows.
    measured
        Held-out rows.
    splits
        Which held-out rows belong to which training rows.
    final
        All training rows. With a validation channel, this is also the `known` of the only split.
    patterns
        Patterns (sets of voting branches) of the rows, and others that new rows may have.
    columns
        The columns that each branch reads.
    settings
        How the networks are trained.
    """

    rows: OutOfFold
    measured: HeldOut
    splits: Sequence[Split]
    final: KnownRows
    patterns: Sequence[Pattern]
    columns: Sequence[Sequence[str]]
    settings: FusionSettings

    def run(self, budget: Budget) -> bool:
        """Train the networks.

        Use them for each pattern (set of voting branches) for which they are better than the pools.

        Returns
        -------
        bool
            Whether the networks lower the loss on all held-out rows together.
        """
        if not self.is_worthwhile or not self._gains(budget):
            return False
        gaining = [pattern for pattern in self._patterns if self._gains_for(pattern)]
        for known in self.members:
            known.networks = {pattern: self._network(known, pattern) for pattern in gaining}
        return True

    def fit_pools(self, known: KnownRows) -> None:
        """Fit the pools (weighted products of votes) from which the networks of these rows start.

        `run` does so if needed.
        """
        for pattern in self._patterns:
            known.pool(pattern)

    @property
    def is_worthwhile(self) -> bool:
        """Whether there are enough rows, and few enough weights, for networks to learn something in reasonable time."""
        return self._affordable >= min(_LEAST_EPOCHS, self.settings.max_epochs)

    @cached_property
    def _affordable(self) -> int:
        """The largest number of epochs that does not cost too much time. 0 if networks would only learn noise."""
        rows, votes = len(self.rows.targets), self.rows.votes
        weights = sum(inputs * outputs for inputs, outputs in layer_sizes(votes.branches, votes.outputs))
        epochs = min(self.settings.max_epochs, int(_MOST_PRODUCTS / (rows * weights)))
        if rows < _ROWS_PER_INPUT * votes.branches * votes.outputs or not epochs or not self._patterns:
            return 0
        return epochs if len(self._answered) else 0

    @cached_property
    def members(self) -> list[KnownRows]:
        """The training rows of each network: one entry for each split, and one for all rows."""
        return list(dict.fromkeys([*(split.known for split in self.splits), self.final]))

    @cached_property
    def _patterns(self) -> list[Pattern]:
        return [
            pattern
            for pattern in self.patterns
            if len(pattern) > 1 and all(member.suits(pattern) for member in self.members)
        ]

    @cached_property
    def _lockstep(self) -> Lockstep:
        members = [
            Member(known.positions, {pattern: known.pool(pattern) for pattern in self._patterns})
            for known in self.members
        ]
        partial = partial_patterns(self._patterns, self.columns)
        return Lockstep(
            Examples.of(self.rows.votes, self._patterns),
            self.rows.learned,
            members,
            self._patterns,
            repeated=[pattern for pattern in self._patterns if pattern not in partial],
            seed=self.settings.seed,
            settings=self.settings.network,
        )

    @cached_property
    def _examples(self) -> Examples:
        return Examples.of(self.measured.votes, self._patterns)

    @cached_property
    def _answered(self) -> np.ndarray:
        """Positions of the held-out rows whose set of voting branches the networks know, int (n,), split by split."""
        return np.concatenate([self._known(split.asked) for split in self.splits])

    def _known(self, rows: np.ndarray) -> np.ndarray:
        return rows[self._examples.patterns.numpy()[rows] >= 0]

    def _gains(self, budget: Budget) -> bool:
        """Train the networks up to the epoch with the least held-out loss.

        Return whether that is less than the pools' loss.
        """
        losses, best = [self._loss()], self._lockstep.weights()
        while self._goes_on(losses) and budget.remaining_s > 0:
            self._lockstep.train_epoch()
            losses.append(self._loss())
            if losses[-1] == min(losses):
                best = self._lockstep.weights()
        self._lockstep.use(best)
        return min(losses) < losses[0]

    def _goes_on(self, losses: list[float]) -> bool:
        return len(losses) <= self._affordable and int(np.argmin(losses)) >= len(losses) - _PATIENCE

    def _loss(self) -> float:
        answers = np.concatenate([self._answers(split) for split in self.splits])
        return smoothed_log_loss(answers, self.measured.targets[self._answered])

    def _answers(self, split: Split) -> np.ndarray:
        """Return logarithms of a network's predictions for the held-out rows of a split, float32 (rows, n)."""
        rows, examples = self._known(split.asked), self._examples
        member = self.members.index(split.known)
        answers = self._lockstep.log_probabilities(member, examples.inputs[rows], examples.patterns[rows])
        return np.log(np.exp(answers) + _TINY)

    def _gains_for(self, pattern: Pattern) -> bool:
        """Return whether the networks lower the held-out loss for one pattern (set of voting branches).

        Rows with more votes are used too, reduced to the votes of this pattern.
        """
        positions = suiting(pattern, self.measured.votes, self.columns)
        positions = positions[:: -(-len(positions) // _MOST_ASKED) or 1]
        gained = 0.0
        for split in self.splits:
            rows = np.intersect1d(split.asked, positions)
            if len(rows):
                vectors, targets = self.measured.votes.probabilities(rows, pattern), self.measured.targets[rows]
                combiners = split.known.pool(pattern), self._network(split.known, pattern)
                pool, network = (log_loss(np.log(one.predict(vectors) + _TINY), targets) for one in combiners)
                gained += len(rows) * (pool - network)
        return gained > 0

    def _network(self, known: KnownRows, pattern: Pattern) -> Network:
        member = self.members.index(known)
        return Network(known.pool(pattern), self._lockstep.layers_for(member, pattern))
