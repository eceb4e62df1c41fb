"""Softmax and least-squares regression on columns of which some are sparse and some dense.

scikit-learn's take one matrix: a thousand dense columns beside words would have to be stored as if they were sparse,
which costs ten times the time.
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
        float32 (rows, columns); may have no column.
    dense
        float32 (rows, columns); may have no column.
    """

    sparse: sparse.csr_matrix
    dense: np.ndarray

    @classmethod
    def of_dense(cls, dense: np.ndarray) -> Blocks:
        """Dense columns alone, float32 (rows, columns)."""
        return cls(sparse.csr_matrix((len(dense), 0), dtype=np.float32), dense)

    def times(self, weights: np.ndarray) -> np.ndarray:
        """(rows, outputs) of weights float32 (columns, outputs), those of the sparse columns first."""
        split = self.sparse.shape[1]
        return np.asarray(self.sparse @ weights[:split]) + self.dense @ weights[split:]

    def transposed_times(self, errors: np.ndarray) -> np.ndarray:
        """(columns, outputs) of float32 (rows, outputs)."""
        return np.concatenate([np.asarray(self.sparse.T @ errors), self.dense.T @ errors])

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.sparse.shape[1] + self.dense.shape[1])


@dataclass(frozen=True)
class Linear:
    """Weights float32 (columns, outputs), bias float32 (outputs,)."""

    weights: np.ndarray
    bias: np.ndarray

    def scores(self, blocks: Blocks) -> np.ndarray:
        """Logits, or predicted values: float32 (rows, outputs)."""
        return np.asarray(blocks.times(self.weights) + self.bias, dtype=np.float32)


def centered_logs(probabilities: np.ndarray) -> np.ndarray:
    """Logarithms, those of very small ones cut off, less their mean over the last axis: float32, of the same shape."""
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
    """Minimise the mean loss plus ``|weights|² / (2 · strength · rows)`` by L-BFGS (the ``C`` of scikit-learn).

    Parameters
    ----------
    blocks
        The columns, of comparable scale.
    targets
        Class indices, int (rows,), shares of the classes, float (rows, n), or numbers, float (rows,).
    n_classes
        Number of outputs of a softmax regression; None for least squares.
    strength
        Inverse of the penalty.
    max_iterations
        Most iterations.
    deadline_s
        On `time.monotonic`; the weights reached by then are kept.
    offsets
        Added to the scores, float32 (rows, outputs); of a softmax regression the weights start at 0 then.
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
    best = _Best()

    def closure() -> float:
        flat = parameters.numpy()
        scores = blocks.times(flat[:-1]) + flat[-1]
        if offsets is not None:
            scores = scores + offsets
        if n_classes is None:
            errors = scores - targets[:, None]
            loss = 0.5 * float((errors[:, 0] ** 2).mean())
        else:
            errors = softmax(scores, axis=1)
            if targets.ndim == 2:
                loss = -float((targets * np.log(np.maximum(errors, 1e-30))).sum(axis=1).mean())
                errors -= targets
            else:
                chosen = errors[np.arange(rows), targets]
                loss = -float(np.log(np.maximum(chosen, 1e-30)).mean())
                errors[np.arange(rows), targets] -= 1.0
        errors *= np.float32(1.0 / rows)
        gradient = np.concatenate([blocks.transposed_times(errors) + penalty * flat[:-1], errors.sum(axis=0)[None]])
        parameters.grad = torch.from_numpy(gradient)
        loss += 0.5 * penalty * float(np.vdot(flat[:-1], flat[:-1]))
        best.see(loss, parameters)
        if deadline_s is not None and time.monotonic() > deadline_s:
            raise _OutOfTime
        return loss

    with contextlib.suppress(_OutOfTime):
        optimizer.step(closure)
    return Linear(best.parameters[:-1], best.parameters[-1])


class _OutOfTime(Exception):
    pass


class _Best:
    """The weights of least loss so far."""

    def __init__(self) -> None:
        self.loss = np.inf
        self.parameters = np.empty(0, dtype=np.float32)

    def see(self, loss: float, parameters: torch.Tensor) -> None:
        if loss < self.loss:
            self.loss = loss
            self.parameters = parameters.numpy().copy()


def _first_bias(targets: np.ndarray, n_classes: int | None) -> np.ndarray:
    if n_classes is None:
        return np.array([targets.mean()], dtype=np.float32)
    shares = targets.mean(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=n_classes) / len(targets)
    # A class that these rows do not have starts, and stays, far below the others.
    return np.log(np.maximum(shares, 1e-9)).astype(np.float32)
