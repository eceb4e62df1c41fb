"""Softmax and least-squares regression on sparse and dense columns together.

The models of scikit-learn take one matrix. Dense columns next to sparse ones would have to be stored as sparse, which
takes ten times as long for a thousand of them.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.special import softmax

if TYPE_CHECKING:
    import torch

_CORRECTIONS = 6
_TOLERANCE = 1e-5
_FLOOR = 1e-4


@dataclass(frozen=True)
class Blocks:
    """The columns of a linear model.

    Parameters
    ----------
    sparse
        Sparse columns, float32 (rows, columns), possibly none.
    dense
        Dense columns, float32 (rows, columns), possibly none.
    """

    sparse: sparse.csr_matrix
    dense: np.ndarray

    @classmethod
    def of_dense(cls, dense: np.ndarray) -> Blocks:
        """Make blocks of dense columns alone, float32 (rows, columns)."""
        return cls(sparse.csr_matrix((len(dense), 0), dtype=np.float32), dense)

    def times(self, weights: np.ndarray) -> np.ndarray:
        """Return columns times `weights`, float32 (rows, outputs).

        `weights` are float32 (columns, outputs), those of the sparse columns first.
        """
        split = self.sparse.shape[1]
        return np.asarray(self.sparse @ weights[:split]) + self.dense @ weights[split:]

    def transposed_times(self, errors: np.ndarray) -> np.ndarray:
        """Return transposed columns times `errors`: float32 (columns, outputs) from float32 (rows, outputs)."""
        return np.concatenate([np.asarray(self.sparse.T @ errors), self.dense.T @ errors])

    @property
    def width(self) -> int:
        """The number of columns."""
        return int(self.sparse.shape[1] + self.dense.shape[1])


@dataclass(frozen=True)
class Linear:
    """A fitted linear model.

    Parameters
    ----------
    weights
        Weights of the columns, float32 (columns, outputs), those of the sparse columns first.
    bias
        Bias of each output, float32 (outputs,).
    """

    weights: np.ndarray
    bias: np.ndarray

    def scores(self, blocks: Blocks) -> np.ndarray:
        """Return logits or predicted values, float32 (rows, outputs)."""
        return np.asarray(blocks.times(self.weights) + self.bias, dtype=np.float32)


def centered_logs(probabilities: np.ndarray) -> np.ndarray:
    """Return logarithms minus their mean over the last axis, float32 of the same shape.

    Probabilities below 1e-4 count as 1e-4.
    """
    logs = np.log(np.maximum(probabilities, _FLOOR))
    return (logs - logs.mean(axis=-1, keepdims=True)).astype(np.float32)


def fit_linear(
    blocks: Blocks,
    targets: np.ndarray,
    *,
    n_classes: int | None,
    strength: float,
    max_iterations: int = 200,
    deadline_s: float | None = None,
    offsets: np.ndarray | None = None,
) -> Linear:
    """Fit a linear model by L-BFGS: minimise the mean loss plus ``|weights|² / (2 · strength · rows)``.

    Parameters
    ----------
    blocks
        Columns, all on a comparable scale.
    targets
        Class indices, int (rows,). Or shares of the classes, float (rows, n). Or numbers, float (rows,).
    n_classes
        Number of classes of a softmax regression. None means least squares.
    strength
        Inverse of the penalty, the ``C`` of scikit-learn.
    max_iterations
        Largest number of iterations.
    deadline_s
        Time of `time.monotonic` at which fitting stops. The best weights up to then are returned.
    offsets
        Scores to which those of the model are added, float32 (rows, outputs). With offsets, the bias starts at 0.
    """
    import torch  # the folder `core` starts without it

    rows, width, outputs = len(targets), blocks.width, n_classes or 1
    penalty = 1.0 / (strength * rows)
    parameters = torch.zeros(width + 1, outputs)
    if offsets is None:
        parameters[-1] = torch.from_numpy(_first_bias(targets, n_classes))
    optimizer = torch.optim.LBFGS(
        [parameters],
        max_iter=max_iterations,
        history_size=_CORRECTIONS,
        tolerance_grad=0.0,
        tolerance_change=_TOLERANCE,
        line_search_fn="strong_wolfe",
    )
    best = _BestParameters()

    def closure() -> float:
        flat = parameters.numpy()
        scores = blocks.times(flat[:-1]) + flat[-1]
        if offsets is not None:
            scores = scores + offsets
        loss, errors = _squared_error(scores, targets) if n_classes is None else _log_loss(scores, targets)
        errors *= np.float32(1.0 / rows)
        gradient = np.concatenate([blocks.transposed_times(errors) + penalty * flat[:-1], errors.sum(axis=0)[None]])
        parameters.grad = torch.from_numpy(gradient)
        loss += 0.5 * penalty * float(np.vdot(flat[:-1], flat[:-1]))
        best.update(loss, parameters)
        if deadline_s is not None and time.monotonic() > deadline_s:
            raise _OutOfTime
        return loss

    with contextlib.suppress(_OutOfTime):
        optimizer.step(closure)
    return Linear(best.parameters[:-1], best.parameters[-1])


def _squared_error(scores: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Return half the mean squared error, and the derivative of each row's loss by its score, (rows, 1)."""
    errors = scores - targets[:, None]
    return 0.5 * float((errors[:, 0] ** 2).mean()), errors


def _log_loss(scores: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean log loss, and the derivatives of each row's loss by its scores, (rows, classes)."""
    errors = softmax(scores, axis=1)
    if targets.ndim == 2:
        loss = -float((targets * np.log(np.maximum(errors, 1e-30))).sum(axis=1).mean())
        errors -= targets
        return loss, errors
    rows = np.arange(len(targets))
    loss = -float(np.log(np.maximum(errors[rows, targets], 1e-30)).mean())
    errors[rows, targets] -= 1.0
    return loss, errors


class _OutOfTime(Exception):
    """The deadline of fitting has passed."""


class _BestParameters:
    """The parameters with the smallest loss up to now."""

    def __init__(self) -> None:
        self.loss = np.inf
        self.parameters = np.empty(0, dtype=np.float32)

    def update(self, loss: float, parameters: torch.Tensor) -> None:
        if loss < self.loss:
            self.loss = loss
            self.parameters = parameters.numpy().copy()


def _first_bias(targets: np.ndarray, n_classes: int | None) -> np.ndarray:
    if n_classes is None:
        return np.array([targets.mean()], dtype=np.float32)
    shares = targets.mean(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=n_classes) / len(targets)
    # The score of a class without rows starts far below the others, and stays there.
    return np.log(np.maximum(shares, 1e-9)).astype(np.float32)
