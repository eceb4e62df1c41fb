"""Combiners: they make one prediction of the votes of several branches. They are fitted to out-of-fold votes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np

from multimodal_algo.core.linear import Blocks, Linear, centered_logs
from multimodal_algo.core.linear_fit import fit_linear
from multimodal_algo.core.softmax import softmax
from multimodal_algo.predictors.base import sample_rows

_PULL = 1.0
_STRENGTH = 0.03
_ROUNDS = 100
# Most numbers of votes that a pool is fitted to, and the rows of each class that its bias then needs.
_MOST_FITTED, _ROWS_PER_BIAS = 20_000_000, 20
# Weights alone need no more.
_MOST_FOR_WEIGHTS = 5_000_000

Tensors = Mapping[str, np.ndarray]


class Combiner(ABC):
    """Combines the votes of branches that all have one, (rows, branches, n).

    For a classification the votes are probabilities, float32. For a regression n is 1, and they are numbers, float64.
    """

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def fit(cls, vectors: np.ndarray, labels: np.ndarray) -> Self:
        """Fit to class indices, int (rows,), or numbers, float (rows,).

        `Pool`, `Stacker` and `Network` also learn shares of the classes, float32 (rows, n).
        """

    @abstractmethod
    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Return probabilities, float32 (rows, n), or numbers, float64 (rows, 1)."""

    @abstractmethod
    def tensors(self) -> dict[str, np.ndarray]:
        """Return the tensors that `from_tensors` takes."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """Return the combiner that has these `tensors`."""


class BestBranch(Combiner):
    """The votes of the best branch: the one with the least log-loss, or squared error."""

    name = "best branch"

    def __init__(self, branch: int) -> None:
        self._branch = branch

    @classmethod
    def fit(cls, vectors: np.ndarray, labels: np.ndarray) -> Self:
        """See `Combiner.fit`."""
        if labels.dtype.kind == "f":
            losses = ((vectors[:, :, 0] - labels[:, None]) ** 2).mean(axis=0)
        else:
            losses = -np.log(vectors[np.arange(len(labels)), :, labels] + 1e-9).mean(axis=0)
        return cls(int(losses.argmin()))

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """See `Combiner.predict`."""
        return vectors[:, self._branch]

    def tensors(self) -> dict[str, np.ndarray]:
        """See `Combiner.tensors`."""
        return {"branch": np.array([self._branch])}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """See `Combiner.from_tensors`."""
        return cls(int(tensors["branch"][0]))


class Mean(Combiner):
    """The weighted mean of numbers, plus a constant, with the least squared error."""

    name = "mean"

    def __init__(self, weights: np.ndarray, bias: np.ndarray) -> None:
        self._weights = weights
        self._bias = bias

    @classmethod
    def fit(cls, vectors: np.ndarray, labels: np.ndarray) -> Self:
        """See `Combiner.fit`. One row's worth of error draws each weight towards equal weights."""
        numbers = vectors[:, :, 0].astype(np.float64)
        centered, rest = numbers - numbers.mean(axis=0), labels - labels.mean()
        even = np.full(numbers.shape[1], 1.0 / numbers.shape[1])
        pull = _PULL * (float(rest.var()) or 1.0) * np.eye(len(even))
        weights = even + np.linalg.solve(centered.T @ centered + pull, centered.T @ (rest - centered @ even))
        bias = labels.mean() - numbers.mean(axis=0) @ weights
        return cls(weights, np.array([bias]))

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """See `Combiner.predict`."""
        return (vectors[:, :, 0] @ self._weights)[:, None] + self._bias

    def tensors(self) -> dict[str, np.ndarray]:
        """See `Combiner.tensors`."""
        return {"weights": self._weights, "bias": self._bias}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """See `Combiner.from_tensors`."""
        return cls(tensors["weights"], tensors["bias"])


class Average(Combiner):
    """The weighted mean of probabilities with the greatest likelihood, found by expectation maximisation."""

    name = "average"

    def __init__(self, weights: np.ndarray) -> None:
        self._weights = weights

    @classmethod
    def fit(cls, vectors: np.ndarray, labels: np.ndarray) -> Self:
        """See `Combiner.fit`."""
        chosen = vectors[np.arange(len(labels)), :, labels].astype(np.float64) + 1e-9
        weights = np.full(vectors.shape[1], 1.0 / vectors.shape[1])
        for _ in range(_ROUNDS):
            weights = weights * ((1.0 / (chosen @ weights)) @ chosen) / len(chosen)
        return cls(weights.astype(np.float32))

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """See `Combiner.predict`."""
        return np.einsum("rbn,b->rn", vectors, self._weights).astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """See `Combiner.tensors`."""
        return {"weights": self._weights}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """See `Combiner.from_tensors`."""
        return cls(tensors["weights"])


class Pool(Combiner):
    """The logarithmic opinion pool: a weight per branch and a bias per class. No weight is below 0.

    The out-of-fold vote of a branch that learns noise is slightly worse than chance: its training rows lack exactly
    the rows of the fold. A negative weight would take this for knowledge, which does not hold for new rows.
    """

    name = "pool"

    def __init__(self, weights: np.ndarray, bias: np.ndarray) -> None:
        self.weights = weights
        self.bias = bias

    @classmethod
    def fit(cls, vectors: np.ndarray, labels: np.ndarray) -> Self:
        """See `Combiner.fit`. One row's worth of loss draws weights towards equal weights, and biases towards 0."""
        rows, with_bias = cls.sample(*vectors.shape)
        return cls.fit_sample(vectors[rows], labels[rows], with_bias=with_bias)

    @staticmethod
    def sample(rows: int, branches: int, classes: int) -> tuple[np.ndarray, bool]:
        """Return the rows that suffice for the fit, int (n,), and whether they suffice for biases.

        Of many votes, a sample of the rows suffices for the weights. With too few of them for each class, biases are 0.
        """
        size = branches * classes
        with_bias = rows * size <= _MOST_FITTED or _MOST_FITTED // size >= _ROWS_PER_BIAS * classes
        return sample_rows(rows, (_MOST_FITTED if with_bias else _MOST_FOR_WEIGHTS) // size, seed=0), with_bias

    @classmethod
    def fit_sample(cls, vectors: np.ndarray, labels: np.ndarray, *, with_bias: bool) -> Self:
        """Fit to what `sample` chose."""
        logs = np.ascontiguousarray(centered_logs(vectors).swapaxes(0, 1))
        kept = np.arange(vectors.shape[1])
        while True:
            weights, bias = cls._fit(logs[kept], labels, with_bias=with_bias)
            if len(kept) == 1 or weights.min() >= 0:
                whole = np.zeros(vectors.shape[1], dtype=np.float32)
                whole[kept] = np.maximum(weights, 0)
                return cls(whole, bias)
            kept = kept[weights >= 0] if (weights >= 0).any() else kept[[weights.argmax()]]

    @staticmethod
    def _fit(logs: np.ndarray, labels: np.ndarray, *, with_bias: bool) -> tuple[np.ndarray, np.ndarray]:
        import torch  # serving does without it

        from multimodal_algo.fusion.solvers import PoolLoss

        even, pull = 1.0 / np.sqrt(len(logs)), _PULL / logs.shape[1]
        return PoolLoss(torch.from_numpy(logs), torch.from_numpy(labels), even, pull, with_bias).minimise()

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """See `Combiner.predict`."""
        logits = np.einsum("rbn,b->rn", centered_logs(vectors), self.weights) + self.bias
        return softmax(logits).astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """See `Combiner.tensors`."""
        return {"weights": self.weights, "bias": self.bias}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """See `Combiner.from_tensors`."""
        return cls(tensors["weights"], tensors["bias"])


class Stacker(Combiner):
    """Softmax regression on all logarithms: the vote for one class may count for another class."""

    name = "stacker"

    def __init__(self, linear: Linear) -> None:
        self._linear = linear

    @classmethod
    def fit(cls, vectors: np.ndarray, labels: np.ndarray) -> Self:
        """See `Combiner.fit`."""
        return cls(fit_linear(_blocks(vectors), labels, n_classes=vectors.shape[2], strength=_STRENGTH))

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """See `Combiner.predict`."""
        return softmax(self._linear.scores(_blocks(vectors))).astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """See `Combiner.tensors`."""
        return {"weights": self._linear.weights, "bias": self._linear.bias}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """See `Combiner.from_tensors`."""
        return cls(Linear(tensors["weights"], tensors["bias"]))


def _blocks(vectors: np.ndarray) -> Blocks:
    return Blocks.of_dense(centered_logs(vectors).reshape(len(vectors), -1))
