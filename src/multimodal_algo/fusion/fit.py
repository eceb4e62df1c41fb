"""The choice of a fusion on held-out rows, and its fit to all rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from multimodal_algo.config.recipes import DEFAULT_NETWORK, NetworkSettings
from multimodal_algo.core.budget import Budget
from multimodal_algo.fusion.calibration import smoothed_log_loss
from multimodal_algo.fusion.combiners import Average, BestBranch, Combiner, Mean, Pool, Stacker
from multimodal_algo.fusion.folds import HeldOut, OutOfFold
from multimodal_algo.fusion.fusion import COMBINERS, Fusion
from multimodal_algo.fusion.network import Network
from multimodal_algo.fusion.patterns import Pattern, partial_patterns, patterns_of, rows_of, rows_with, without_each
from multimodal_algo.fusion.selection import Finish, Selector
from multimodal_algo.predictors.base import prior_of

_FOR_CLASSES: tuple[type[Combiner], ...] = (BestBranch, Average, Pool, Stacker, Network)
_FOR_NUMBERS: tuple[type[Combiner], ...] = (BestBranch, Mean)
# These can learn shares of classes, as a teacher gives them. `Network` can too.
_LEARN_SOFT_LABELS = (Pool, Stacker)
_BLENDS = (
    (BestBranch.name,), (Average.name,), (Pool.name,), (Stacker.name,), (Network.name,), (Mean.name,),
    (Pool.name, Stacker.name), (Stacker.name, Network.name), (Pool.name, Stacker.name, Network.name),
)  # fmt: skip
# With more classes the stacker has too many weights, and the network too many inputs: they learn noise, slowly.
_MOST_STACKER_WEIGHTS = 250_000
_MOST_NETWORK_INPUTS = 1_000
_LEAST_ROWS, _LEAST_PARTIAL_ROWS = 20, 50
_PATIENCE = 8
_TINY = 1e-9

_Split = tuple[np.ndarray, np.ndarray]
"""Rows to fit to and held-out rows, each int (n,)."""


@dataclass(frozen=True)
class FusionSettings:
    """How the combiners are fitted.

    Parameters
    ----------
    max_epochs
        Most epochs of the network: the hyperparameter ``n_epochs``.
    network
        Settings of the network.
    seed
        Seed of the network's first weights, order and dropout.
    """

    max_epochs: int
    network: NetworkSettings = DEFAULT_NETWORK
    seed: int = 0


@dataclass(frozen=True)
class Choice:
    """The losses of the combiners on rows that they were not fitted to.

    Parameters
    ----------
    losses
        Loss of each branch alone, each combiner and each blend of combiners, by name.
    chosen
        Name of the blend that ships.
    """

    losses: Mapping[str, float]
    chosen: str


def fit_fusion(
    rows: OutOfFold,
    branches: Mapping[str, Sequence[str]],
    *,
    selector: Selector,
    settings: FusionSettings,
    budget: Budget,
    held_out: HeldOut | None = None,
) -> tuple[Fusion, np.ndarray, Choice]:
    """Choose a blend of combiners on held-out rows, and fit it to all rows.

    Parameters
    ----------
    rows
        The training rows with their out-of-fold votes.
    branches
        The columns of each branch, in the order of the votes.
    selector
        The comparison.
    settings
        How the combiners are fitted.
    budget
        Deadline. At its end the network's epochs are cut short, or the network is left out.
    held_out
        Rows of the validation channel. They decide in place of the folds.

    Returns
    -------
    fusion
        The fusion that ships.
    predictions
        Held-out predictions, (rows, n), for `held_out` if it is given, otherwise for `rows`.
    choice
        The losses, and the name of the blend that ships.
    """
    with _one_thread():
        return _Fit(rows, branches, selector, settings, budget, held_out).run()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread of torch: the arrays are small, and threads would mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Fit:
    """See `fit_fusion`."""

    rows: OutOfFold
    branches: Mapping[str, Sequence[str]]
    selector: Selector
    settings: FusionSettings
    budget: Budget
    held_out: HeldOut | None

    def run(self) -> tuple[Fusion, np.ndarray, Choice]:
        """Compare, choose and fit."""
        rows, measured = self.rows, self._measured()
        epochs = 0 if self.selector.task.is_regression else self._best_epochs()
        predictions = self._held_out_predictions(self._possible(epochs), epochs)
        names, choice = self._choose(predictions)
        patterns = {*patterns_of(rows.votes), *patterns_of(measured.votes), *without_each(list(self.branches.values()))}
        combinations = self._fitted(rows, patterns, [COMBINERS[name] for name in names], epochs)
        blended = np.mean([predictions[name] for name in names], axis=0)
        finish = self.selector.finish(blended, measured.targets)
        fusion = self._fusion(combinations, finish)
        return fusion, blended if finish is None else finish(blended), choice

    @cached_property
    def _prior(self) -> np.ndarray:
        return prior_of(self.rows.targets, self.selector.task)

    @cached_property
    def _full(self) -> Pattern:
        """The first of the patterns with the most branches."""
        patterns = patterns_of(self.rows.votes)
        return max(patterns, key=len)

    def _measured(self) -> HeldOut:
        return self.held_out or HeldOut(self.rows.votes, self.rows.targets)

    def _splits(self) -> list[_Split]:
        if self.held_out is not None:
            return [(np.arange(len(self.rows.targets)), np.arange(len(self.held_out.targets)))]
        folds = self.rows.folds
        return [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in np.unique(folds)]

    def _possible(self, epochs: int) -> list[type[Combiner]]:
        task = self.selector.task
        if task.is_regression:
            return list(_FOR_NUMBERS)
        if len(self._full) == 1:
            return [BestBranch]
        possible = list(_FOR_CLASSES)
        if self.rows.votes.branches * task.outputs**2 > _MOST_STACKER_WEIGHTS:
            possible.remove(Stacker)
        if epochs == 0:
            possible.remove(Network)
        return possible

    def _held_out_predictions(self, combiners: Sequence[type[Combiner]], epochs: int) -> dict[str, np.ndarray]:
        """Return the predictions of each combiner, (rows, n), each by a fit without the row."""
        measured = self._measured()
        shape = (len(measured.targets), self.selector.task.outputs)
        predictions = {combiner.name: np.empty(shape, dtype=self.selector.task.dtype) for combiner in combiners}
        for outside, inside in self._splits():
            known, asked = self.rows.take(outside), measured.votes.take(inside)
            patterns = patterns_of(asked)
            for combiner in combiners:
                fitted = self._fitted(known, patterns, [combiner], epochs)
                predictions[combiner.name][inside] = self._fusion(fitted, None).predict(asked)
        return predictions

    def _fitted(
        self, rows: OutOfFold, patterns: Iterable[Pattern], combiners: Sequence[type[Combiner]], epochs: int
    ) -> dict[Pattern, list[Combiner]]:
        """Return fitted combiners for each pattern that has enough rows."""
        fitted: dict[Pattern, list[Combiner]] = {}
        patterns = list(patterns)
        partial = partial_patterns(patterns, list(self.branches.values()))
        for pattern in dict.fromkeys([*patterns, *self._without_partial_votes(partial)]):
            if len(pattern) == 1:
                # The prediction of a single branch is its vote. A fit would only bend it.
                fitted[pattern] = [BestBranch(0)]
                continue
            positions = rows_of(pattern, rows.votes) if pattern in partial else rows_with(pattern, rows.votes)
            if len(positions) >= (_LEAST_PARTIAL_ROWS if pattern in partial else _LEAST_ROWS):
                vectors, chosen = rows.votes.probabilities(positions, pattern), rows.take(positions)
                fitted[pattern] = [self._fit_one(combiner, vectors, chosen, epochs) for combiner in combiners]
        return fitted

    def _without_partial_votes(self, partial: Iterable[Pattern]) -> Iterator[Pattern]:
        """Yield what is left of patterns without the branches that lack a modality."""
        columns = list(self.branches.values())
        for pattern in partial:
            left = pattern
            while left and partial_patterns([left], columns):
                left = _without_widest(left, columns)
            if left:
                yield left

    def _fusion(self, combinations: dict[Pattern, list[Combiner]], finish: Finish | None) -> Fusion:
        partial = partial_patterns(combinations, list(self.branches.values()))
        return Fusion(combinations, self._prior, finish, partial)

    def _fit_one(self, combiner: type[Combiner], vectors: np.ndarray, rows: OutOfFold, epochs: int) -> Combiner:
        if combiner is Network:
            settings = self.settings
            return Network.fit(vectors, rows.learned, epochs=epochs, seed=settings.seed, settings=settings.network)
        return combiner.fit(vectors, rows.learned if combiner in _LEARN_SOFT_LABELS else rows.targets)

    def _best_epochs(self) -> int:
        """Return the number of the network's epochs with the least held-out loss: 0 where its pool alone is best."""
        full, most = self._full, self.settings.max_epochs
        if len(full) == 1 or len(full) * self.rows.votes.outputs > _MOST_NETWORK_INPUTS:
            return 0
        budget = self.budget.share(1, 2)
        totals: np.ndarray | None = None
        splits = self._splits()
        for number, (outside, inside) in enumerate(splits):
            losses, count = self._losses_per_epoch(outside, inside, budget.share(1, len(splits) - number))
            if losses:
                padded = np.pad(losses, (0, most + 1 - len(losses)), mode="edge") * count
                totals = padded if totals is None else totals + padded
        return 0 if totals is None else int(np.argmin(totals))

    def _losses_per_epoch(self, outside: np.ndarray, inside: np.ndarray, budget: Budget) -> tuple[list[float], int]:
        """Return the loss on the rows `inside` before the first epoch and after each one, and how many rows count."""
        full, rows, measured = self._full, self.rows, self._measured()
        known = outside[rows_with(full, rows.votes.take(outside))]
        asked = inside[rows_with(full, measured.votes.take(inside))]
        if not len(known) or not len(asked):
            return [], 0
        vectors = measured.votes.probabilities(asked, full)
        losses: list[float] = []
        for network in Network.per_epoch(
            rows.votes.probabilities(known, full),
            rows.learned[known],
            seed=self.settings.seed,
            settings=self.settings.network,
        ):
            losses.append(smoothed_log_loss(np.log(network.predict(vectors) + _TINY), measured.targets[asked]))
            is_rising = int(np.argmin(losses)) < len(losses) - _PATIENCE
            if len(losses) > self.settings.max_epochs or budget.remaining_s == 0 or is_rising:
                break
        return losses, len(asked)

    def _choose(self, predictions: Mapping[str, np.ndarray]) -> tuple[tuple[str, ...], Choice]:
        measured, selector = self._measured(), self.selector
        losses: dict[str, tuple[float, float]] = {}
        for number, name in enumerate(self.branches):
            losses[f"{name} alone"] = selector.losses(measured.votes.alone(number, self._prior), measured.targets)
        blends = {" + ".join(blend): blend for blend in _BLENDS if all(name in predictions for name in blend)}
        for name, blend in blends.items():
            mean = np.mean([predictions[combiner] for combiner in blend], axis=0)
            losses[name] = selector.losses(mean, measured.targets)
        best = min(blends, key=losses.__getitem__)
        return blends[best], Choice({name: loss for name, (loss, _) in losses.items()}, best)


def _without_widest(pattern: Pattern, columns: Sequence[Sequence[str]]) -> Pattern:
    """Return the pattern without its branch of the most columns."""
    widest = max(pattern, key=lambda branch: len(columns[branch]))
    return tuple(branch for branch in pattern if branch != widest)
