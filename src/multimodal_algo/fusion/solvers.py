"""The fit of a pool's weights and biases by Newton's method.

It uses torch, which is faster here than numpy. The caller decides on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.linalg import solve

_MOST_STEPS, _MOST_HALVINGS = 30, 20
# A step of Newton's method that is expected to save fewer nats a row is the last one.
_EXPECTED = 1e-6


@dataclass(frozen=True)
class PoolLoss:
    """The loss of a pool (weighted product of votes) as a function of its weights and biases, with two derivatives.

    Parameters
    ----------
    logs
        Logarithms of the votes, float32 (branches, rows, n).
    labels
        Class indices, int64 (rows,), or shares of the classes, float32 (rows, n).
    even
        Equal weight of each branch, towards which the penalty draws the weights.
    pull
        Strength of the penalty, which draws weights towards `even` and biases towards 0.
    with_bias
        Whether each class has a bias. Otherwise biases are 0.
    """

    logs: torch.Tensor
    labels: torch.Tensor
    even: float
    pull: float
    with_bias: bool

    def minimise(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights, float32 (branches,), and biases, float32 (n,), with the least loss."""
        branches, _, classes = self.logs.shape
        point = np.zeros(branches + classes * self.with_bias)
        point[:branches] = self.even
        point = self._descend(point).astype(np.float32)
        return point[:branches], point[branches:] if self.with_bias else np.zeros(classes, dtype=np.float32)

    def _descend(self, point: np.ndarray) -> np.ndarray:
        """Return the point that Newton's method reaches from `point`. It ends when a step hardly lowers the loss."""
        loss, gradient, hessian = self.at(point)
        for _ in range(_MOST_STEPS):
            step = solve(hessian, gradient, assume_a="pos", check_finite=False)
            expected = 0.5 * float(gradient @ step)
            if expected < _EXPECTED:
                return point - step
            for size in 0.5 ** np.arange(_MOST_HALVINGS):
                tried = self.at(point - size * step)
                if tried[0] <= loss - 0.1 * size * expected:
                    break
            else:
                return point
            point, (loss, gradient, hessian) = point - size * step, tried
        return point

    def at(self, point: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the loss, its gradient and its Hessian at `point`, float64 (branches,) or (branches + n,).

        The point holds the weights of the branches, followed by the biases of the classes if there are any.
        """
        branches, rows, classes = self.logs.shape
        flat, values = self.logs.view(branches, -1), torch.from_numpy(point.astype(np.float32))
        logits = (values[:branches] @ flat).view(rows, classes)
        if self.with_bias:
            logits += values[branches:]
        loss, probabilities = _cross_entropy(logits, self.labels)
        weighted = self.logs * probabilities
        means = weighted.sum(dim=2)
        gradient, hessian = means.sum(dim=1), weighted.view(branches, -1) @ flat.T - means @ means.T
        if self.with_bias:
            shares = probabilities.sum(dim=0)
            mixed = weighted.sum(dim=1) - means @ probabilities
            own = torch.diag(shares) - probabilities.T @ probabilities
            gradient = torch.cat([gradient, shares])
            hessian = torch.cat([torch.cat([hessian, mixed], dim=1), torch.cat([mixed.T, own], dim=1)])
        away = point - self.even * (np.arange(len(point)) < branches)
        return (
            loss + self.pull * float(away @ away),
            (gradient.double().numpy() - self._observed) / rows + 2 * self.pull * away,
            hessian.double().numpy() / rows + 2 * self.pull * np.eye(len(point)),
        )

    @cached_property
    def _observed(self) -> np.ndarray:
        """The part of the gradient that depends on the labels alone. It is computed once.

        It holds the sum of each branch's logarithms for the true classes, then, with biases, the number of rows of each
        class.
        """
        if self.labels.ndim == 2:
            logs, classes = (self.logs * self.labels).sum(dim=(1, 2)), self.labels.sum(dim=0)
        else:
            logs = self.logs[:, torch.arange(len(self.labels)), self.labels].sum(dim=1)
            classes = torch.bincount(self.labels, minlength=self.logs.shape[2])
        return np.concatenate([logs.double().numpy(), classes.double().numpy()[: None if self.with_bias else 0]])


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Return the mean cross-entropy of the rows, and their probabilities, (rows, n)."""
    likely = torch.log_softmax(logits, dim=1)
    if labels.ndim == 2:
        loss = -float((labels * likely).sum(dtype=torch.float64))
    else:
        loss = -float(likely.gather(1, labels[:, None]).sum(dtype=torch.float64))
    return loss / len(logits), likely.exp_()
