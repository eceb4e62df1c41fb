"""Combiners: each makes one prediction from the votes of several branches.

Combiners are fitted to out-of-fold votes.
"""

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
# Errors above this number of deviations are outliers. The factor turns the median of normal errors into a deviation.
_HUBER, _TO_DEVIATION, _HUBER_STEPS = 1.345, 1.4826, 20
# Weights alone need no more.
_MOST_FOR_WEIGHTS = 5_000_000

Tensors = Mapping[str, np.ndarray]


class Combiner(ABC):
    """Combines the votes of several branches (partial models), (rows, branches, n), into one prediction per row.

    No vote may be missing.

    For a classification, a vote is n probabilities, float32. For a regression, n is 1 and a vote is a number, float64.
    """

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def fit(cls, vectors: np.ndarray, labels: np.ndarray) -> Self:
        """Return a combiner that is fitted to votes and labels: class indices, int (rows,), or numbers, float (rows,).

        For `Pool`, `Stacker` and `Network`, labels may also be shares of the classes, float32 (rows, n).
        """

    @abstractmethod
    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Return combined probabilities, float32 (rows, n), or numbers, float64 (rows, 1)."""

    @abstractmethod
    def tensors(self) -> dict[str, np.ndarray]:
        """Return everything that the combiner has learned, as named arrays for `from_tensors`."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """Return the combiner whose method `tensors` returned these `tensors`."""


class BestBranch(Combiner):
    """The combiner that takes the votes of a single branch (partial model), the one with the least loss."""

    name = "best branch"

    def __init__(self, branch: int) -> None:
        self._branch = branch

    @classmethod
    def fit(cls, vectors: np.ndarray, labels: np.ndarray) -> Self:
        """Find the best branch (partial model), see `Combiner.fit`."""
        if labels.dtype.kind == "f":
            losses = ((vectors[:, :, 0] - labels[:, None]) ** 2).mean(axis=0)
        else:
            losses = -np.log(vectors[np.arange(len(labels)), :, labels] + 1e-9).mean(axis=0)
        return cls(int(losses.argmin()))

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Return the votes of the best branch, see `Combiner.predict`."""
        return vectors[:, self._branch]

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the number of the best branch, see `Combiner.tensors`."""
        return {"branch": np.array([self._branch])}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """Return the combiner that is stored in `tensors`, see `Combiner.from_tensors`."""
        return cls(int(tensors["branch"][0]))


class Mean(Combiner):
    """The combiner for regressions: a weighted mean of numbers plus a constant, with the least squared error."""

    name = "mean"

    def __init__(self, weights: np.ndarray, bias: np.ndarray) -> None:
        self._weights = weights
        self._bias = bias

    @classmethod
    def fit(cls, vectors: np.ndarray, labels: np.ndarray) -> Self:
        """Fit weights and constant, see `Combiner.fit`.

        A penalty as large as one row's error keeps the weights nearly equal.
        """
        numbers = vectors[:, :, 0].astype(np.float64)
        centered, rest = numbers - numbers.mean(axis=0), labels - labels.mean()
        even = np.full(numbers.shape[1], 1.0 / numbers.shape[1])
        pull = _PULL * (float(rest.var()) or 1.0) * np.eye(len(even))
        weights = even + np.linalg.solve(centered.T @ centered + pull, centered.T @ (rest - centered @ even))
        bias = labels.mean() - numbers.mean(axis=0) @ weights
        return cls(weights, np.array([bias]))

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Return the weighted mean of the votes, see `Combiner.predict`."""
        return (vectors[:, :, 0] @ self._weights)[:, None] + self._bias

    def tensors(self) -> dict[str, np.ndarray]:
        """Return weights and constant, see `Combiner.tensors`."""
        return {"weights": self._weights, "bias": self._bias}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """Return the combiner that is stored in `tensors`, see `Combiner.from_tensors`."""
        return cls(tensors["weights"], tensors["bias"])


class HuberMean(Mean):
    """The combiner of a regression that takes a weighted mean of the votes, plus a constant, and resists outliers.

    Weights and constant have the least Huber loss. A large error counts in proportion to its size, not to its square
    (Huber, 1964, "Robust Estimation of a Location Parameter").
    """

    name = "huber mean"

    @classmethod
    def fit(cls, vectors: np.ndarray, labels: np.ndarray) -> Self:
        """Fit weights and constant, see `Combiner.fit`.

        The fit begins with the result of `Mean`. Each step gives rows with large errors less weight, and fits again.
        """
        numbers = vectors[:, :, 0].astype(np.float64)
        even = np.full(numbers.shape[1], 1.0 / numbers.shape[1])
        fitted = Mean.fit(vectors, labels)
        weights, bias = fitted._weights, float(fitted._bias[0])
        for _ in range(_HUBER_STEPS):
            errors = np.abs(labels - numbers @ weights - bias)
            unit = _TO_DEVIATION * float(np.median(errors))
            if not unit:
                break
            shares = np.minimum(1.0, _HUBER * unit / np.maximum(errors, unit * _HUBER))
            mean, center = np.average(numbers, axis=0, weights=shares), float(np.average(labels, weights=shares))
            centered, rest = numbers - mean, labels - center
            pull = _PULL * (float(np.average(rest**2, weights=shares)) or 1.0) * np.eye(len(even))
            weighted = centered * shares[:, None]
            weights = even + np.linalg.solve(weighted.T @ centered + pull, weighted.T @ (rest - centered @ even))
            bias = center - float(mean @ weights)
        return cls(weights, np.array([bias]))


class Average(Combiner):
    """The combiner that takes a weighted mean of probabilities.

    Expectation maximisation finds the most likely weights.
    """

    name = "average"

    def __init__(self, weights: np.ndarray) -> None:
        self._weights = weights

    @classmethod
    def fit(cls, vectors: np.ndarray, labels: np.ndarray) -> Self:
        """Fit the weights, see `Combiner.fit`."""
        chosen = vectors[np.arange(len(labels)), :, labels].astype(np.float64) + 1e-9
        weights = np.full(vectors.shape[1], 1.0 / vectors.shape[1])
        for _ in range(_ROUNDS):
            weights = weights * ((1.0 / (chosen @ weights)) @ chosen) / len(chosen)
        return cls(weights.astype(np.float32))

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Return the weighted mean of the votes, see `Combiner.predict`."""
        return np.einsum("rbn,b->rn", vectors, self._weights).astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the weights, see `Combiner.tensors`."""
        return {"weights": self._weights}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """Return the combiner that is stored in `tensors`, see `Combiner.from_tensors`."""
        return cls(tensors["weights"])


class Pool(Combiner):
    """The combiner that adds up the logarithms of the votes.

    Each branch (partial model) has a weight, each class a bias.

    It is known as the logarithmic opinion pool. No weight is below 0. If a branch learns only noise, its out-of-fold
    votes are slightly worse than chance, because its training rows lack exactly the rows of the fold. A negative weight
    would treat this as knowledge, which new rows do not confirm.
    """

    name = "pool"

    def __init__(self, weights: np.ndarray, bias: np.ndarray) -> None:
        self.weights = weights
        self.bias = bias

    @classmethod
    def fit(cls, vectors: np.ndarray, labels: np.ndarray) -> Self:
        """Fit weights and biases, see `Combiner.fit`.

        A penalty as large as one row's loss keeps the weights nearly equal and the biases near 0.
        """
        rows, with_bias = cls.sample(*vectors.shape)
        return cls.fit_sample(vectors[rows], labels[rows], with_bias=with_bias)

    @staticmethod
    def sample(rows: int, branches: int, classes: int) -> tuple[np.ndarray, bool]:
        """Return row positions that suffice for the fit, int (n,), and whether they also suffice for the biases.

        If there are many votes, a sample of the rows suffices for the weights. If the sample has too few rows of each
        class, the biases stay 0.
        """
        size = branches * classes
        with_bias = rows * size <= _MOST_FITTED or _MOST_FITTED // size >= _ROWS_PER_BIAS * classes
        return sample_rows(rows, (_MOST_FITTED if with_bias else _MOST_FOR_WEIGHTS) // size, seed=0), with_bias

    @classmethod
    def fit_sample(cls, vectors: np.ndarray, labels: np.ndarray, *, with_bias: bool) -> Self:
        """Fit weights, and biases if `with_bias`, to the rows that `sample` chose."""
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
        """Return the combined probabilities, see `Combiner.predict`."""
        logits = np.einsum("rbn,b->rn", centered_logs(vectors), self.weights) + self.bias
        return softmax(logits).astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return weights and biases, see `Combiner.tensors`."""
        return {"weights": self.weights, "bias": self.bias}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """Return the combiner that is stored in `tensors`, see `Combiner.from_tensors`."""
        return cls(tensors["weights"], tensors["bias"])


class Stacker(Combiner):
    """The combiner that is a softmax regression on the logarithms of all votes.

    A vote for one class may count for another.
    """

    name = "stacker"

    def __init__(self, linear: Linear) -> None:
        self._linear = linear

    @classmethod
    def fit(cls, vectors: np.ndarray, labels: np.ndarray) -> Self:
        """Fit the softmax regression, see `Combiner.fit`."""
        return cls(fit_linear(_blocks(vectors), labels, n_classes=vectors.shape[2], strength=_STRENGTH))

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Return the combined probabilities, see `Combiner.predict`."""
        return softmax(self._linear.scores(_blocks(vectors))).astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the weights of the regression, see `Combiner.tensors`."""
        return {"weights": self._linear.weights, "bias": self._linear.bias}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """Return the combiner that is stored in `tensors`, see `Combiner.from_tensors`."""
        return cls(Linear(tensors["weights"], tensors["bias"]))


def _blocks(vectors: np.ndarray) -> Blocks:
    return Blocks.of_dense(centered_logs(vectors).reshape(len(vectors), -1))
