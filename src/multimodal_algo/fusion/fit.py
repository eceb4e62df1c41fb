"""The choice of a fusion: combiners are compared on held-out rows, and the best are fitted to all rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from multimodal_algo.core.budget import Budget
from multimodal_algo.fusion.calibration import log_loss
from multimodal_algo.fusion.combiners import Average, BestBranch, Combiner, HuberMean, Mean, Pool, Stacker
from multimodal_algo.fusion.folds import HeldOut, OutOfFold
from multimodal_algo.fusion.fusion import COMBINERS, Fusion
from multimodal_algo.fusion.known import KnownRows, with_fallbacks
from multimodal_algo.fusion.network import Network
from multimodal_algo.fusion.patterns import Pattern, partial_patterns, patterns_of, rows_of, without_each
from multimodal_algo.fusion.search import FusionSettings, NetworkSearch, Split
from multimodal_algo.fusion.selection import Finish, Selector
from multimodal_algo.predictors.base import prior_of
from multimodal_algo.predictors.threads import one_thread

__all__ = ["Choice", "FusionSettings", "fit_fusion"]

_FOR_NUMBERS: tuple[type[Combiner], ...] = (BestBranch, Mean, HuberMean)
_BLENDS = (
    (BestBranch.name,), (Average.name,), (Pool.name,), (Stacker.name,), (Network.name,), (Mean.name,),
    (HuberMean.name,), (Pool.name, Stacker.name), (Stacker.name, Network.name), (Pool.name, Stacker.name, Network.name),
)  # fmt: skip
# With more classes the stacker has too many weights: it learns noise, slowly.
_MOST_STACKER_WEIGHTS = 250_000


@dataclass(frozen=True)
class Choice:
    """The result of a comparison of combiners (ways to combine votes) on held-out rows.

    Parameters
    ----------
    losses
        Loss of each branch alone, each combiner and each blend (mean of combiners), by name.
    chosen
        Name of the combiner or blend that goes into the artifact.
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
    """Choose the combiner (way to combine votes), or mean of several, that is best on held-out rows.

    Fit it to all rows.

    Parameters
    ----------
    rows
        The training rows with their out-of-fold votes.
    branches
        The columns of each branch, in the order of the votes.
    selector
        Compares predictions according to the chosen metric.
    settings
        How the combiners are fitted.
    budget
        Deadline. When it is near, the fusion network gets fewer epochs, or is left out.
    held_out
        Rows of the validation channel. If given, the comparison uses them instead of the folds.

    Returns
    -------
    fusion
        The fusion for the artifact.
    predictions
        Predictions for held-out rows, (rows, n): for `held_out` if it is given, otherwise for `rows`.
    choice
        The losses of all combiners, and the name of the chosen one.
    """
    with _single_threads() as cores, ThreadPoolExecutor(cores) as threads:
        return _Fit(rows, branches, selector, settings, budget, held_out, threads).run()


@contextmanager
def _single_threads() -> Iterator[int]:
    """Let each operation use one thread inside the block, because its arrays are small.

    Yield the number of cores, which is the number of operations that can run at the same time.
    """
    cores = torch.get_num_threads()
    with one_thread(), threadpool_limits(1, user_api="blas"):
        yield cores


@dataclass(frozen=True)
class _Fit:
    """The choice of a fusion. See `fit_fusion` for the fields."""

    rows: OutOfFold
    branches: Mapping[str, Sequence[str]]
    selector: Selector
    settings: FusionSettings
    budget: Budget
    held_out: HeldOut | None
    threads: ThreadPoolExecutor

    def run(self) -> tuple[Fusion, np.ndarray, Choice]:
        """Compare all candidates on held-out rows, choose the best one, and fit it to all rows."""
        predictions = self._held_out_predictions()
        names, choice = self._choose(predictions)
        combinations = self._combinations([COMBINERS[name] for name in names])
        blended = np.mean([predictions[name] for name in names], axis=0)
        finish = self.selector.finish(blended, self._measured.targets)
        fusion = self._fusion(combinations, finish)
        return fusion, blended if finish is None else finish(blended), choice

    @cached_property
    def _prior(self) -> np.ndarray:
        return prior_of(self.rows.targets, self.selector.task)

    @cached_property
    def _columns(self) -> list[Sequence[str]]:
        return list(self.branches.values())

    @cached_property
    def _patterns(self) -> list[Pattern]:
        """The sets of branches that need a combination: those that vote on a row, or would if it lacked a modality."""
        present = [*patterns_of(self.rows.votes), *patterns_of(self._measured.votes)]
        return sorted({*present, *without_each(self._columns)})

    @cached_property
    def _measured(self) -> HeldOut:
        return self.held_out or HeldOut(self.rows.votes, self.rows.targets)

    @cached_property
    def _final(self) -> KnownRows:
        return KnownRows(self.rows, np.arange(len(self.rows.targets)), self._columns)

    @cached_property
    def _splits(self) -> list[Split]:
        if self.held_out is not None:
            return [Split(self._final, np.arange(len(self.held_out.targets)))]
        folds = self.rows.folds
        return [
            Split(KnownRows(self.rows, np.flatnonzero(folds != fold), self._columns), np.flatnonzero(folds == fold))
            for fold in np.unique(folds)
        ]

    def _held_out_predictions(self) -> dict[str, np.ndarray]:
        """Return the held-out predictions of each combiner, (rows, n). No row was in the fit that predicts it."""
        if self.selector.task.is_regression:
            return self._predictions(_FOR_NUMBERS)
        if self._most_votes == 1:
            return self._predictions([BestBranch])
        networks = self._network_search()
        if networks.is_worthwhile:
            list(self.threads.map(networks.fit_pools, networks.members))
        gain = self.threads.submit(networks.run, self.budget.share(1, 2))
        predictions = self._predictions([BestBranch, Average, Pool, *([Stacker] if self._stacker_gains() else [])])
        return {**predictions, **self._predictions([Network] if gain.result() else [])}

    @cached_property
    def _most_votes(self) -> int:
        return max(map(len, patterns_of(self.rows.votes)), default=1)

    def _network_search(self) -> NetworkSearch:
        patterns = with_fallbacks(self._patterns, self._columns)
        return NetworkSearch(
            self.rows, self._measured, self._splits, self._final, patterns, self._columns, self.settings
        )

    def _stacker_gains(self) -> bool:
        """Return whether a `Stacker` may be better than the pool (weighted product of votes).

        If its fit takes long, a stacker is first fitted to the rows of one split, and compared with the pool there.
        """
        votes, split = self.rows.votes, self._splits[0]
        if votes.branches * votes.outputs**2 > _MOST_STACKER_WEIGHTS:
            return False
        pattern = max(patterns_of(votes), key=lambda one: len(rows_of(one, votes)))
        rows = np.intersect1d(split.asked, rows_of(pattern, self._measured.votes))
        if len(pattern) == 1 or not split.known.suits(pattern) or not split.known.is_costly(pattern) or not len(rows):
            return True
        vectors, targets = self._measured.votes.probabilities(rows, pattern), self._measured.targets[rows]
        pool, stacker = (split.known.fit(combiner, pattern).predict(vectors) for combiner in (Pool, Stacker))
        least, *losses = (log_loss(np.log(each + 1e-9), targets) for each in (pool, stacker, (pool + stacker) / 2))
        return min(losses) < least

    def _predictions(self, combiners: Sequence[type[Combiner]]) -> dict[str, np.ndarray]:
        shape = (len(self._measured.targets), self.selector.task.outputs)
        predictions = {combiner.name: np.empty(shape, dtype=self.selector.task.dtype) for combiner in combiners}

        def predict(split: Split, combiner: type[Combiner]) -> None:
            asked = self._measured.votes.take(split.asked)
            fitted = split.known.fitted(patterns_of(asked), [combiner])
            predictions[combiner.name][split.asked] = self._fusion(fitted, None).predict(asked)

        pairs = product(self._splits, combiners)
        list(self.threads.map(lambda pair: predict(*pair), pairs))
        return predictions

    def _combinations(self, combiners: Sequence[type[Combiner]]) -> dict[Pattern, list[Combiner]]:
        """Return for each pattern (set of voting branches) the combiners, fitted to all rows."""
        patterns = with_fallbacks(self._patterns, self._columns)
        parts = self.threads.map(lambda pattern: self._final.fitted([pattern], combiners), patterns)
        return {pattern: fitted for part in parts for pattern, fitted in part.items()}

    def _fusion(self, combinations: dict[Pattern, list[Combiner]], finish: Finish | None) -> Fusion:
        return Fusion(combinations, self._prior, finish, partial_patterns(combinations, self._columns))

    def _choose(self, predictions: Mapping[str, np.ndarray]) -> tuple[tuple[str, ...], Choice]:
        measured, selector = self._measured, self.selector
        blends = {" + ".join(blend): blend for blend in _BLENDS if all(name in predictions for name in blend)}

        def alone(number: int) -> tuple[float, float]:
            return selector.losses(measured.votes.alone(number, self._prior), measured.targets)

        def blended(blend: tuple[str, ...]) -> tuple[float, float]:
            return selector.losses(np.mean([predictions[name] for name in blend], axis=0), measured.targets)

        singles = self.threads.map(alone, range(len(self.branches)))
        losses = {f"{name} alone": loss for name, loss in zip(self.branches, singles, strict=True)}
        losses |= zip(blends, self.threads.map(blended, blends.values()), strict=True)
        best = min(blends, key=losses.__getitem__)
        return blends[best], Choice({name: loss for name, (loss, _) in losses.items()}, best)
