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
from scipy.special import softmax

from multimodal_algo.budget import Budget
from multimodal_algo.fusion.calibration import fit_temperature, smoothed_log_loss
from multimodal_algo.fusion.folds import HeldOut
from multimodal_algo.fusion.members import Average, Member, Pool, Stacker
from multimodal_algo.fusion.network import Network

_LOG = logging.getLogger(__name__)

_KINDS: Mapping[str, type[Member]] = {kind.name: kind for kind in (Average, Pool, Stacker, Network)}
_BLENDS = (
    (Average.name,), (Pool.name,), (Stacker.name,), (Network.name,),
    (Pool.name, Stacker.name), (Stacker.name, Network.name), (Pool.name, Stacker.name, Network.name),
)  # fmt: skip
# Of more classes the stacker's weights, and the network's inputs, would be many: they would learn noise, slowly.
_MOST_STACKED = 250_000
_WIDEST = 1_000
_LEAST_ROWS = 20
_PATIENCE = 8
_TINY = 1e-9

Pattern = tuple[int, ...]
"""Branches that say something of a row, ascending."""


@dataclass(frozen=True)
class Comparison:
    """How the ways to combine did on rows that they were not fitted to.

    Parameters
    ----------
    losses
        Log-loss by name: each branch alone, each way, each blend of ways.
    chosen
        The name of what is shipped.
    """

    losses: Mapping[str, float]
    chosen: str


class Fusion:
    """Combinations by pattern of branches that speak, and a temperature.

    Parameters
    ----------
    combinations
        Fitted members by pattern; a row of another pattern gets the largest one inside its own.
    frequencies
        Share of each class, float32 (n,): the answer where no branch speaks.
    temperature
        Divides the logarithms of the answers.
    """

    def __init__(
        self, combinations: Mapping[Pattern, Sequence[Member]], frequencies: np.ndarray, temperature: float
    ) -> None:
        self._combinations = combinations
        self._frequencies = frequencies
        self.temperature = temperature

    @classmethod
    def fit(
        cls,
        vectors: np.ndarray,
        labels: np.ndarray,
        folds: np.ndarray,
        *,
        columns: Sequence[Sequence[str]],
        names: Sequence[str],
        held_out: HeldOut | None = None,
        max_epochs: int,
        seed: int,
        budget: Budget,
    ) -> tuple[Fusion, np.ndarray, Comparison]:
        """Choose on held-out rows how to combine out-of-fold vectors, and fit that to all of them.

        Parameters
        ----------
        vectors
            Out-of-fold vectors, float32 (rows, branches, n + 1).
        labels
            Class indices, int (rows,).
        folds
            Fold of each row, int (rows,): each is predicted by what was fitted to the others.
        columns
            Of each branch its columns.
        names
            Of each branch its name.
        held_out
            Rows of the validation channel; these decide instead of the folds where they are given.
        max_epochs
            Most epochs of the network (the hyperparameter ``n_epochs``).
        seed
            Seed of the network's first weights, order and dropout.
        budget
            When to be done; the network is left out, or its epochs cut short, where it ends.

        Returns
        -------
        fusion
            What ships.
        probabilities
            Held-out probabilities of each row, float32 (rows, n), calibrated: of `held_out` if given.
        comparison
            Of the ways to combine.
        """
        with _one_thread():
            return cls._fit(vectors, labels, folds, columns, names, held_out, max_epochs, seed, budget)

    @classmethod
    def _fit(
        cls,
        vectors: np.ndarray,
        labels: np.ndarray,
        folds: np.ndarray,
        columns: Sequence[Sequence[str]],
        names: Sequence[str],
        held_out: HeldOut | None,
        max_epochs: int,
        seed: int,
        budget: Budget,
    ) -> tuple[Fusion, np.ndarray, Comparison]:
        if held_out is None:
            splits = [(np.flatnonzero(folds != f), np.flatnonzero(folds == f)) for f in np.unique(folds)]
            judged, truth = vectors, labels
        else:
            everything = np.arange(len(labels))
            splits = [(everything, np.arange(len(held_out.labels)))]
            judged, truth = held_out.vectors, held_out.labels
        frequencies = _frequencies(labels, vectors.shape[2] - 1)
        most = int(_speaking(vectors).sum(axis=1).max())
        full = next(pattern for pattern in _patterns(vectors) if len(pattern) == most)
        epochs = _best_epochs(vectors, labels, judged, truth, splits, full, max_epochs, seed, budget.share(1, 2))
        kinds = [kind for name, kind in _KINDS.items() if _is_possible(name, vectors, epochs)]
        if len(full) == 1:
            kinds = [Pool]
        answers = {kind.name: np.empty((len(truth), vectors.shape[2] - 1), dtype=np.float32) for kind in kinds}
        for outside, inside in splits:
            for kind in kinds:
                fitted = _fit_patterns(
                    vectors[outside], labels[outside], _patterns(judged[inside]), [kind], epochs, seed
                )
                answers[kind.name][inside] = cls(fitted, frequencies, 1.0).predict(judged[inside])
        chosen, temperature, comparison = _choose(answers, judged, truth, names, frequencies)
        wanted = {*_patterns(vectors), *_patterns(judged), *_without_each(columns)}
        combinations = _fit_patterns(vectors, labels, wanted, [_KINDS[name] for name in chosen], epochs, seed)
        probabilities = _tempered(np.mean([answers[name] for name in chosen], axis=0), temperature)
        return cls(combinations, frequencies, temperature), probabilities, comparison

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float32 (rows, n), of vectors (rows, branches, n + 1)."""
        answers = np.tile(self._frequencies, (len(vectors), 1))
        speaking = _speaking(vectors)
        for row_pattern in _patterns(vectors):
            rows = np.flatnonzero((speaking == _mask(row_pattern, vectors.shape[1])).all(axis=1))
            inside = [pattern for pattern in self._combinations if set(pattern) <= set(row_pattern)]
            if not inside:
                continue
            pattern = max(inside, key=len)
            heard = _heard(vectors, rows, pattern)
            answers[rows] = np.mean([member.predict(heard) for member in self._combinations[pattern]], axis=0)
        return _tempered(answers, self.temperature)

    def save(self, path: Path) -> None:
        """Write everything as safetensors."""
        from safetensors.numpy import save_file

        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {"frequencies": self._frequencies}
        for pattern, members in self._combinations.items():
            for member in members:
                for name, value in member.tensors().items():
                    key = f"{'-'.join(map(str, pattern))}/{member.name}/{name}"
                    tensors[key] = np.ascontiguousarray(value, dtype=np.float32)
        save_file(tensors, path, {"fusion": json.dumps({"temperature": self.temperature})})

    @classmethod
    def load(cls, path: Path) -> Fusion:
        """Read what `save` wrote."""
        from safetensors import safe_open

        found: dict[Pattern, dict[str, dict[str, np.ndarray]]] = {}
        with safe_open(path, framework="numpy") as stored:
            temperature = float(json.loads(stored.metadata()["fusion"])["temperature"])
            frequencies = stored.get_tensor("frequencies")
            for key in stored.keys():  # noqa: SIM118
                if key == "frequencies":
                    continue
                pattern, member, name = key.split("/")
                place = tuple(int(branch) for branch in pattern.split("-"))
                found.setdefault(place, {}).setdefault(member, {})[name] = stored.get_tensor(key)
        combinations = {
            pattern: [_KINDS[name].from_tensors(tensors) for name, tensors in members.items()]
            for pattern, members in found.items()
        }
        return cls(combinations, frequencies, temperature)


@contextmanager
def _one_thread() -> Iterator[None]:
    """All is small here: threads would mostly wait for each other, and with every core busy they wait for long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _speaking(vectors: np.ndarray) -> np.ndarray:
    return vectors[:, :, -1] < 0.5


def _heard(vectors: np.ndarray, rows: np.ndarray, pattern: Pattern) -> np.ndarray:
    """What the branches of `pattern` say of `rows`, float32 (rows, branches, n)."""
    return vectors[rows][:, list(pattern), :-1]


def _mask(pattern: Pattern, branches: int) -> np.ndarray:
    mask = np.zeros(branches, dtype=bool)
    mask[list(pattern)] = True
    return mask


def _patterns(vectors: np.ndarray) -> list[Pattern]:
    """Those of the rows, without the empty one."""
    masks = np.unique(_speaking(vectors), axis=0)
    return [tuple(int(branch) for branch in np.flatnonzero(mask)) for mask in masks if mask.any()]


def _without_each(columns: Sequence[Sequence[str]]) -> Iterable[Pattern]:
    """The patterns of rows where one branch, and all that need one of its columns, say nothing; and of each alone."""
    for number, missing in enumerate(columns):
        left = tuple(other for other, needed in enumerate(columns) if not set(needed) & set(missing))
        if left:
            yield left
        yield (number,)


def _frequencies(labels: np.ndarray, n_classes: int) -> np.ndarray:
    return (np.bincount(labels, minlength=n_classes) / len(labels)).astype(np.float32)


def _is_possible(name: str, vectors: np.ndarray, epochs: int) -> bool:
    n_classes = vectors.shape[2] - 1
    if name == Stacker.name:
        return vectors.shape[1] * n_classes**2 <= _MOST_STACKED
    return name != Network.name or epochs > 0


def _fit_patterns(
    vectors: np.ndarray,
    labels: np.ndarray,
    patterns: Iterable[Pattern],
    kinds: Sequence[type[Member]],
    epochs: int,
    seed: int,
) -> dict[Pattern, list[Member]]:
    speaking = _speaking(vectors)
    fitted: dict[Pattern, list[Member]] = {}
    for pattern in patterns:
        rows = np.flatnonzero(speaking[:, pattern].all(axis=1))
        if len(rows) < _LEAST_ROWS and len(pattern) > 1:
            continue
        heard = _heard(vectors, rows, pattern)
        if len(pattern) == 1:
            # One branch is what it says; Pool would only bend it.
            fitted[pattern] = [Average(np.ones(1, dtype=np.float32))]
        else:
            fitted[pattern] = [
                Network.fit(heard, labels[rows], epochs=epochs, seed=seed)
                if kind is Network
                else kind.fit(heard, labels[rows])
                for kind in kinds
            ]
    return fitted


def _best_epochs(
    vectors: np.ndarray,
    labels: np.ndarray,
    judged: np.ndarray,
    truth: np.ndarray,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    full: Pattern,
    max_epochs: int,
    seed: int,
    budget: Budget,
) -> int:
    """The number of epochs of the network that suits held-out rows best; 0 where it does not improve on its pool."""
    if len(full) == 1 or len(full) * (vectors.shape[2] - 1) > _WIDEST:
        return 0
    totals: np.ndarray | None = None
    for number, (outside, inside) in enumerate(splits):
        share = budget.share(1, len(splits) - number)
        known = outside[_speaking(vectors[outside])[:, full].all(axis=1)]
        asked = inside[_speaking(judged[inside])[:, full].all(axis=1)]
        if not len(known) or not len(asked):
            continue
        heard = _heard(judged, asked, full)
        losses: list[float] = []
        for network in Network.per_epoch(_heard(vectors, known, full), labels[known], seed=seed):
            losses.append(smoothed_log_loss(np.log(network.predict(heard) + _TINY), truth[asked]))
            if len(losses) > max_epochs or share.remaining_s == 0 or int(np.argmin(losses)) < len(losses) - _PATIENCE:
                break
        padded = np.pad(losses, (0, max_epochs + 1 - len(losses)), mode="edge") * len(asked)
        totals = padded if totals is None else totals + padded
    return 0 if totals is None else int(np.argmin(totals))


def _choose(
    answers: Mapping[str, np.ndarray],
    judged: np.ndarray,
    truth: np.ndarray,
    names: Sequence[str],
    frequencies: np.ndarray,
) -> tuple[tuple[str, ...], float, Comparison]:
    losses: dict[str, float] = {}
    for number, name in enumerate(names):
        alone = judged[:, number, :-1] + judged[:, number, -1:] * frequencies
        losses[f"{name} alone"] = _judge(alone, truth)[0]
    best: tuple[float, tuple[str, ...], float] | None = None
    for blend in _BLENDS:
        if any(name not in answers for name in blend):
            continue
        loss, temperature = _judge(np.mean([answers[name] for name in blend], axis=0), truth)
        losses[" + ".join(blend)] = loss
        if best is None or loss < best[0]:
            best = loss, blend, temperature
    assert best is not None
    return best[1], best[2], Comparison(losses, " + ".join(best[1]))


def _judge(probabilities: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    logs = np.log(probabilities + _TINY)
    # Never sharper than what was fitted: rows of training are more like each other than like those to come.
    temperature = max(1.0, fit_temperature(logs, truth))
    return smoothed_log_loss(np.log(_tempered(probabilities, temperature) + _TINY), truth), temperature


def _tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    return softmax(np.log(probabilities + _TINY) / temperature, axis=1).astype(np.float32)
