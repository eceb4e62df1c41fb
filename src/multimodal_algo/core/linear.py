"""Linear models on sparse and dense columns together.

scikit-learn's models take a single matrix, so dense columns would have to be stored as sparse ones. With a thousand
dense columns, that takes ten times as long.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

_FLOOR = 1e-4


@dataclass(frozen=True)
class Blocks:
    """The input columns of a linear model, as a sparse block and a dense block.

    Parameters
    ----------
    sparse
        Sparse columns, float32 (rows, columns). There may be 0 columns.
    dense
        Dense columns, float32 (rows, columns). There may be 0 columns.
    """

    sparse: sparse.csr_matrix
    dense: np.ndarray

    @classmethod
    def of_dense(cls, dense: np.ndarray) -> Blocks:
        """Make blocks that have dense columns only, float32 (rows, columns)."""
        return cls(sparse.csr_matrix((len(dense), 0), dtype=np.float32), dense)

    def times(self, weights: np.ndarray) -> np.ndarray:
        """Return the columns multiplied by `weights`, float32 (rows, outputs).

        `weights` are float32 (columns, outputs). Those of the sparse columns come first.
        """
        split = self.sparse.shape[1]
        return np.asarray(self.sparse @ weights[:split]) + self.dense @ weights[split:]

    @property
    def width(self) -> int:
        """The number of columns, sparse and dense."""
        return int(self.sparse.shape[1] + self.dense.shape[1])


@dataclass(frozen=True)
class Linear:
    """A fitted linear model.

    Parameters
    ----------
    weights
        Weights of the columns, float32 (columns, outputs). Those of the sparse columns come first.
    bias
        Bias of each output, float32 (outputs,).
    """

    weights: np.ndarray
    bias: np.ndarray

    def scores(self, blocks: Blocks) -> np.ndarray:
        """Return the logits of a classifier, or the predicted values of a regression, float32 (rows, outputs)."""
        return np.asarray(blocks.times(self.weights) + self.bias, dtype=np.float32)


def centered_logs(probabilities: np.ndarray) -> np.ndarray:
    """Return the logarithms of probabilities minus their mean over the last axis, float32 of the same shape.

    Probabilities below 1e-4 count as 1e-4.
    """
    logs = np.log(np.maximum(probabilities, _FLOOR))
    return (logs - logs.mean(axis=-1, keepdims=True)).astype(np.float32)
