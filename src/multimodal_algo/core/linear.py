"""Softmax and least-squares regression on sparse and dense columns together.

The models of scikit-learn take one matrix. Dense columns next to sparse ones would have to be stored as sparse, which
takes ten times as long for a thousand of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

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
