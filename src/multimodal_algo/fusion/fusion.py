"""From the branches' vectors to one calibrated answer.

Ways to combine (`members`, `network`) are compared on rows that they were not fitted to, and the best, or the mean of
the best, is shipped: never worse there than the best branch alone. A row that says nothing in some modality gets a
combination that was fitted without it, so a missing modality costs no more than what it would have told.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from multimodal_algo.config.recipes import DEFAULT_NETWORK, NetworkSettings
from multimodal_algo.core.budget import Budget
from multimodal_algo.fusion.calibration import smoothed_log_loss
from multimodal_algo.fusion.combiners import Average, BestBranch, Combiner, Mean, Pool, Stacker
from multimodal_algo.fusion.folds import HeldOut
from multimodal_algo.fusion.network import Network
from multimodal_algo.fusion.patterns import Pattern, heard, patterns_of, rows_of, speaking, without_each
from multimodal_algo.fusion.selection import Finish, Selector

_LOG = logging.getLogger(__name__)

_KINDS: Mapping[str, type[Combiner]] = {kind.name: kind for kind in (BestBranch, Average, Pool, Stacker, Network, Mean)}
_OF_CLASSES: tuple[type[Combiner], ...] = (BestBranch, Average, Pool, Stacker, Network)
_OF_NUMBERS: tuple[type[Combiner], ...] = (BestBranch, Mean)
# Those that can learn shares of classes, as a teacher gives them.
_TAUGHT = (Pool, Stacker)
_BLENDS = (
    (BestBranch.name,), (Average.name,), (Pool.name,), (Stacker.name,), (Network.name,), (Mean.name,),
    (Pool.name, Stacker.name), (Stacker.name, Network.name), (Pool.name, Stacker.name, Network.name),
)  # fmt: skip
# Of more classes the stacker's weights, and the network's inputs, would be many: they would learn noise, slowly.
_MOST_STACKED = 250_000
_WIDEST = 1_000
_LEAST_ROWS = 20
_PATIENCE = 8
_TINY = 1e-9


@dataclass(frozen=True)
class Comparison:
    """How the ways to combine did on rows that they were not fitted to.

    Parameters
    ----------
    losses
        By name, of each branch alone, each way and each blend of ways: the metric of the judge, or 1 minus it where
        greater is better.
    chosen
        The name of what is shipped.
    """

    losses: Mapping[str, float]
    chosen: str


class Fusion:
    """Combinations by pattern of branches that speak, and the last step.

    Parameters
    ----------
    combinations
        Fitted members by pattern; a row of another pattern gets the largest one inside its own.
    usual
        Share of each class, or the mean number, float32 (n,): the answer where no branch speaks.
    finish
        The last step; None for a regression.
    """

    def __init__(
        self, combinations: Mapping[Pattern, Sequence[Combiner]], prior: np.ndarray, finish: Finish | None
    ) -> None:
        self._combinations = combinations
        self.prior = prior
        self.finish = finish

    @classmethod
    def fit(
        cls,
        vectors: np.ndarray,
        targets: np.ndarray,
        folds: np.ndarray,
        *,
        judge: Selector,
        columns: Sequence[Sequence[str]],
        names: Sequence[str],
        held_out: HeldOut | None = None,
        taught: np.ndarray | None = None,
        max_epochs: int,
        settings: NetworkSettings = DEFAULT_NETWORK,
        seed: int,
        budget: Budget,
    ) -> tuple[Fusion, np.ndarray, Comparison]:
        """Choose on held-out rows how to combine out-of-fold vectors, and fit that to all of them.

        Parameters
        ----------
        vectors
            Out-of-fold vectors, float32 (rows, branches, n + 1).
        targets
            Class indices, int (rows,), or numbers, float (rows,).
        folds
            Fold of each row, int (rows,): each is predicted by what was fitted to the others.
        judge
            Compares.
        columns
            Of each branch its columns.
        names
            Of each branch its name.
        held_out
            Rows of the validation channel; these decide instead of the folds where they are given.
        taught
            Shares of the classes that members learn in place of `targets`, float32 (rows, n): a teacher's. What ships
            is chosen by the targets all the same.
        max_epochs
            Most epochs of the network (the hyperparameter ``n_epochs``).
        settings
            Of the network.
        seed
            Seed of the network's first weights, order and dropout.
        budget
            When to be done; the network is left out, or its epochs cut short, where it ends.

        Returns
        -------
        fusion
            What ships.
        answers
            Held-out answers to each row, float32 (rows, n): of `held_out` if given.
        comparison
            Of the ways to combine.
        """
        with _one_thread():
            fitting = _Fitting(max_epochs, settings, seed, budget)
            learnt = targets if taught is None else taught
            return cls._fit(vectors, targets, learnt, folds, judge, columns, names, held_out, fitting)

    @classmethod
    def _fit(
        cls,
        vectors: np.ndarray,
        targets: np.ndarray,
        learnt: np.ndarray,
        folds: np.ndarray,
        judge: Selector,
        columns: Sequence[Sequence[str]],
        names: Sequence[str],
        held_out: HeldOut | None,
        fitting: _Fitting,
    ) -> tuple[Fusion, np.ndarray, Comparison]:
        if held_out is None:
            splits = [(np.flatnonzero(folds != f), np.flatnonzero(folds == f)) for f in np.unique(folds)]
            judged, truth = vectors, targets
        else:
            splits = [(np.arange(len(targets)), np.arange(len(held_out.targets)))]
            judged, truth = held_out.vectors, held_out.targets
        prior = _prior(targets, judge)
        most = int(speaking(vectors).sum(axis=1).max())
        full = next(pattern for pattern in patterns_of(vectors) if len(pattern) == most)
        epochs = 0
        if not judge.task.is_regression:
            epochs = fitting.best_epochs(vectors, learnt, judged, truth, splits, full)
        kinds = _possible_kinds(vectors, full, epochs, judge)
        answers = {kind.name: np.empty((len(truth), judge.task.outputs), dtype=np.float32) for kind in kinds}
        for outside, inside in splits:
            for kind in kinds:
                wanted = patterns_of(judged[inside])
                fitted = fitting.patterns(vectors[outside], targets[outside], learnt[outside], wanted, [kind], epochs)
                answers[kind.name][inside] = cls(fitted, prior, None).predict(judged[inside])
        chosen, comparison = _choose(answers, judged, truth, names, prior, judge)
        shipped = {*patterns_of(vectors), *patterns_of(judged), *without_each(columns)}
        combinations = fitting.patterns(vectors, targets, learnt, shipped, [_KINDS[name] for name in chosen], epochs)
        mean = np.mean([answers[name] for name in chosen], axis=0)
        finish = judge.finish(mean, truth)
        return cls(combinations, prior, finish), mean if finish is None else finish(mean), comparison

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, or numbers: float32 (rows, n), of vectors (rows, branches, n + 1)."""
        answers = np.tile(self.prior, (len(vectors), 1))
        for row_pattern in patterns_of(vectors):
            rows = rows_of(row_pattern, vectors)
            inside = [pattern for pattern in self._combinations if set(pattern) <= set(row_pattern)]
            if not inside:
                continue
            pattern = max(inside, key=len)
            said = heard(vectors, rows, pattern)
            answers[rows] = np.mean([member.predict(said) for member in self._combinations[pattern]], axis=0)
        return answers if self.finish is None else self.finish(answers)

    def save(self, path: Path) -> None:
        """Write everything as safetensors."""
        from safetensors.numpy import save_file

        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {"prior": self.prior}
        for pattern, members in self._combinations.items():
            for member in members:
                for name, value in member.tensors().items():
                    key = f"{'-'.join(map(str, pattern))}/{member.name}/{name}"
                    tensors[key] = np.ascontiguousarray(value, dtype=np.float32)
        metadata: dict[str, float | None] = {"temperature": None}
        if self.finish is not None:
            metadata["temperature"] = self.finish.temperature
            if self.finish.weights is not None:
                tensors["weights"] = self.finish.weights
        save_file(tensors, path, {"fusion": json.dumps(metadata)})

    @classmethod
    def load(cls, path: Path) -> Fusion:
        """Read what `save` wrote."""
        from safetensors import safe_open

        found: dict[Pattern, dict[str, dict[str, np.ndarray]]] = {}
        with safe_open(path, framework="numpy") as stored:
            temperature = json.loads(stored.metadata()["fusion"])["temperature"]
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        prior, weights = tensors.pop("prior"), tensors.pop("weights", None)
        for key, tensor in tensors.items():
            pattern, member, name = key.split("/")
            place = tuple(int(branch) for branch in pattern.split("-"))
            found.setdefault(place, {}).setdefault(member, {})[name] = tensor
        combinations = {
            pattern: [_KINDS[name].from_tensors(tensors) for name, tensors in members.items()]
            for pattern, members in found.items()
        }
        return cls(combinations, prior, None if temperature is None else Finish(temperature, weights))


@contextmanager
def _one_thread() -> Iterator[None]:
    """All is small here: threads would mostly wait for each other, and with every core busy they wait for long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _prior(targets: np.ndarray, judge: Selector) -> np.ndarray:
    if judge.task.is_regression:
        return np.array([targets.mean()], dtype=np.float32)
    return (np.bincount(targets, minlength=judge.task.outputs) / len(targets)).astype(np.float32)


def _possible_kinds(vectors: np.ndarray, full: Pattern, epochs: int, judge: Selector) -> list[type[Combiner]]:
    if judge.task.is_regression:
        return list(_OF_NUMBERS)
    if len(full) == 1:
        return [BestBranch]
    kinds: list[type[Combiner]] = list(_OF_CLASSES)
    if vectors.shape[1] * judge.task.outputs**2 > _MOST_STACKED:
        kinds.remove(Stacker)
    if epochs == 0:
        kinds.remove(Network)
    return kinds


@dataclass(frozen=True)
class _Fitting:
    """How members are fitted; see `Fusion.fit`."""

    max_epochs: int
    settings: NetworkSettings
    seed: int
    budget: Budget

    def patterns(
        self,
        vectors: np.ndarray,
        targets: np.ndarray,
        learnt: np.ndarray,
        patterns: Iterable[Pattern],
        kinds: Sequence[type[Combiner]],
        epochs: int,
    ) -> dict[Pattern, list[Combiner]]:
        """Members of each pattern that has rows enough."""
        speaks = speaking(vectors)
        fitted: dict[Pattern, list[Combiner]] = {}
        for pattern in patterns:
            rows = np.flatnonzero(speaks[:, pattern].all(axis=1))
            if len(rows) < _LEAST_ROWS and len(pattern) > 1:
                continue
            if len(pattern) == 1:
                # One branch is what it says; a fit would only bend it.
                fitted[pattern] = [BestBranch(0)]
                continue
            said = heard(vectors, rows, pattern)
            fitted[pattern] = [
                Network.fit(said, learnt[rows], epochs=epochs, seed=self.seed, settings=self.settings)
                if kind is Network
                else kind.fit(said, (learnt if kind in _TAUGHT else targets)[rows])
                for kind in kinds
            ]
        return fitted

    def best_epochs(
        self,
        vectors: np.ndarray,
        learnt: np.ndarray,
        judged: np.ndarray,
        truth: np.ndarray,
        splits: Sequence[tuple[np.ndarray, np.ndarray]],
        full: Pattern,
    ) -> int:
        """How many epochs of the network suit held-out rows best; 0 where it does not improve on its pool."""
        if len(full) == 1 or len(full) * (vectors.shape[2] - 1) > _WIDEST:
            return 0
        budget = self.budget.share(1, 2)
        totals: np.ndarray | None = None
        for number, (outside, inside) in enumerate(splits):
            share = budget.share(1, len(splits) - number)
            known = outside[speaking(vectors[outside])[:, full].all(axis=1)]
            asked = inside[speaking(judged[inside])[:, full].all(axis=1)]
            if not len(known) or not len(asked):
                continue
            said = heard(judged, asked, full)
            losses: list[float] = []
            after_each = Network.per_epoch(
                heard(vectors, known, full), learnt[known], seed=self.seed, settings=self.settings
            )
            for network in after_each:
                losses.append(smoothed_log_loss(np.log(network.predict(said) + _TINY), truth[asked]))
                rising = int(np.argmin(losses)) < len(losses) - _PATIENCE
                if len(losses) > self.max_epochs or share.remaining_s == 0 or rising:
                    break
            padded = np.pad(losses, (0, self.max_epochs + 1 - len(losses)), mode="edge") * len(asked)
            totals = padded if totals is None else totals + padded
        return 0 if totals is None else int(np.argmin(totals))


def _choose(
    answers: Mapping[str, np.ndarray],
    judged: np.ndarray,
    truth: np.ndarray,
    names: Sequence[str],
    prior: np.ndarray,
    judge: Selector,
) -> tuple[tuple[str, ...], Comparison]:
    losses: dict[str, tuple[float, float]] = {}
    for number, name in enumerate(names):
        alone = judged[:, number, :-1] + judged[:, number, -1:] * prior
        losses[f"{name} alone"] = judge.losses(alone, truth)
    blends = {" + ".join(blend): blend for blend in _BLENDS if all(name in answers for name in blend)}
    for told, blend in blends.items():
        losses[told] = judge.losses(np.mean([answers[name] for name in blend], axis=0), truth)
    best = min(blends, key=losses.__getitem__)
    return blends[best], Comparison({name: loss for name, (loss, _) in losses.items()}, best)
