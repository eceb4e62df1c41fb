"""Fits linear models. Several fits to the same rows start from each other's result.

A text branch has a hundred thousand columns and a few thousand rows. Then a fit stores one number per row instead of
one weight per column. This is exact: the gradient is a combination of the rows, and so are all weights that L-BFGS
reaches from 0.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from multimodal_algo.core.lbfgs import Limits, minimised
from multimodal_algo.core.linear import Blocks, Linear

if TYPE_CHECKING:
    import torch


class LinearFit:
    """The rows to which linear models are fitted, one model after the other.

    Parameters
    ----------
    blocks
        Columns, all on a comparable scale.
    targets
        Class indices, int (rows,). Or shares of the classes, float (rows, n). Or numbers, float (rows,).
    n_classes
        Number of classes of a softmax regression. None means least squares.
    offsets
        Numbers that are added to the scores of the model, float32 (rows, outputs). With offsets, the bias starts at 0.
    """

    def __init__(
        self, blocks: Blocks, targets: np.ndarray, n_classes: int | None, offsets: np.ndarray | None = None
    ) -> None:
        import torch  # the folder `core` starts without it

        self._rows = len(targets)
        self._space = _space(_Products(blocks))
        self._loss = _SquaredError(targets) if n_classes is None else _LogLoss(targets)
        self._offsets = None if offsets is None else _tensor(offsets)
        self._vector = torch.zeros(*self._space.shape, n_classes or 1)
        if offsets is None:
            self._vector[:, -1] = _tensor(_first_bias(targets, n_classes))

    def fit(self, strength: float, limits: Limits, factors: np.ndarray | None = None) -> Linear:
        """Fit a model: minimise the mean loss plus ``|weights|² / (2 · strength · rows)``.

        Parameters
        ----------
        strength
            Inverse of the penalty, the ``C`` of scikit-learn.
        limits
            When to stop, at the latest.
        factors
            Factors by which the columns are multiplied in the fit, float32 (columns,). Small means a strong penalty.
            The returned model has weights for the columns as they are.
        """
        space = self._space
        space.penalty = 1.0 / (strength * self._rows)
        self._vector = space.with_factors(self._vector, factors)
        self._vector = minimised(space, self._loss, self._vector, self._offsets, limits)
        return Linear(space.weights(self._vector).numpy(), self._vector[0, -1].numpy().copy())


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
    blocks, targets, n_classes, offsets
        See `LinearFit`, which fits several models to the same rows.
    strength
        Inverse of the penalty, the ``C`` of scikit-learn.
    max_iterations, deadline_s
        See `Limits`.
    """
    limits = Limits(max_iterations, deadline_s)
    return LinearFit(blocks, targets, n_classes, offsets).fit(strength, limits)


class _Products:
    """The products of a fit: columns times weights gives scores, transposed columns times errors gives weights.

    torch multiplies sparse columns with the library MKL, where it is installed. That is three times as fast as scipy.
    """

    def __init__(self, blocks: Blocks) -> None:
        self.rows, self.width = len(blocks.dense), blocks.width
        self._split = blocks.sparse.shape[1]
        self._dense = _tensor(blocks.dense)
        self._sparse = self._transposed = None
        if blocks.sparse.nnz:
            self._sparse, self._transposed = _sparse_tensor(blocks.sparse), _sparse_tensor(blocks.sparse.T.tocsr())

    def scores(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the columns times `weights`, which are float32 (columns, outputs).

        The scores are float32 (rows, outputs).
        """
        scores = self._dense @ weights[self._split :]
        return scores if self._sparse is None else scores + self._sparse @ weights[: self._split]

    def weights(self, errors: torch.Tensor) -> torch.Tensor:
        """Return the transposed columns times `errors`, which are float32 (rows, outputs).

        The result is (columns, outputs).
        """
        weights = errors.new_zeros(self.width, errors.shape[1])
        weights[self._split :] = (errors.T @ self._dense).T  # half the time of the transposed columns times errors
        if self._transposed is not None:
            weights[: self._split] = self._transposed @ errors
        return weights


def _tensor(array: np.ndarray) -> torch.Tensor:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a read-only array is fine
        return torch.from_numpy(np.ascontiguousarray(array))


def _sparse_tensor(matrix: sparse.csr_matrix) -> torch.Tensor:
    import torch

    kind = np.int32 if matrix.nnz < 2**31 else np.int64  # MKL converts other kinds in each product
    ends, columns = _tensor(matrix.indptr.astype(kind)), _tensor(matrix.indices.astype(kind))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls sparse tensors a beta feature
        return torch.sparse_csr_tensor(ends, columns, _tensor(matrix.data), size=matrix.shape)


class _Space(ABC):
    """A `Space` whose columns are multiplied by factors."""

    penalty = 0.0

    def __init__(self, products: _Products) -> None:
        self._products = products
        self._factors: torch.Tensor | None = None

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """The number of parts of a vector, and the length of each part."""

    @abstractmethod
    def scores(self, vector: torch.Tensor) -> torch.Tensor:
        """Return the scores of all rows, see `Space.scores`."""

    @abstractmethod
    def gradient(self, errors: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the objective, see `Space.gradient`."""

    @abstractmethod
    def weights(self, vector: torch.Tensor) -> torch.Tensor:
        """Return the weights for columns that are not multiplied by their factors, float32 (columns, outputs)."""

    def with_factors(self, vector: torch.Tensor, factors: np.ndarray | None) -> torch.Tensor:
        """Set the factors of the columns, float32 (columns,), for the next fit. Return a vector for it to start from.

        That vector is `vector`, the last fit's result, adapted to the new factors.
        """
        self._factors = None if factors is None else _tensor(factors)[:, None]
        return vector

    def _scaled(self, weights: torch.Tensor) -> torch.Tensor:
        return weights if self._factors is None else weights * self._factors


class _ColumnSpace(_Space):
    """A space for few columns: a vector holds the weight of each column."""

    @property
    def shape(self) -> tuple[int, int]:
        return 1, self._products.width + 1

    def scores(self, vector: torch.Tensor) -> torch.Tensor:
        return self._products.scores(self._scaled(vector[0, :-1])) + vector[0, -1]

    def gradient(self, errors: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        gradient = self.penalty * vector
        gradient[0, :-1] += self._scaled(self._products.weights(errors))
        gradient[0, -1] = errors.sum(dim=0)
        return gradient

    def weights(self, vector: torch.Tensor) -> torch.Tensor:
        return self._scaled(vector[0, :-1])


class _RowSpace(_Space):
    """A space for many columns: a vector holds one number per row.

    The weights are the sum of the rows times these numbers.

    A second part of the vector holds the scores of the rows without the bias, so that they need not be computed again.
    """

    @property
    def shape(self) -> tuple[int, int]:
        return 2, self._products.rows + 1

    def scores(self, vector: torch.Tensor) -> torch.Tensor:
        return vector[1, :-1] + vector[1, -1]

    def gradient(self, errors: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        gradient = self.penalty * vector
        gradient[0, :-1] += errors
        gradient[1, :-1] += self._scores_of(errors)
        gradient[:, -1] = errors.sum(dim=0)
        return gradient

    def weights(self, vector: torch.Tensor) -> torch.Tensor:
        return self._scaled(self._scaled(self._products.weights(vector[0, :-1])))

    def with_factors(self, vector: torch.Tensor, factors: np.ndarray | None) -> torch.Tensor:
        vector = super().with_factors(vector, factors).clone()
        vector[1, :-1] = self._scores_of(vector[0, :-1])
        return vector

    def _scores_of(self, shares: torch.Tensor) -> torch.Tensor:
        """Return the scores of the weights that `shares`, one number per row, stand for."""
        return self._products.scores(self._scaled(self._scaled(self._products.weights(shares))))


def _space(products: _Products) -> _Space:
    """Return the space whose vectors are smaller: over rows or over columns."""
    return (_RowSpace if 2 * products.rows < products.width else _ColumnSpace)(products)


class _SquaredError:
    """The loss of a regression: half the mean squared error."""

    def __init__(self, targets: np.ndarray) -> None:
        self._targets = _tensor(targets.astype(np.float32))[:, None]

    def __call__(self, scores: torch.Tensor) -> tuple[float, torch.Tensor]:
        errors = (scores - self._targets) / len(scores)
        return 0.5 * len(scores) * float(errors.square().sum()), errors


class _LogLoss:
    """The loss of a classifier: the mean log loss. The targets are class indices or shares of the classes."""

    def __init__(self, targets: np.ndarray) -> None:
        self._targets = _tensor(targets.astype(np.float32 if targets.ndim == 2 else np.int64))
        self._rows = _tensor(np.arange(len(targets)))

    def __call__(self, scores: torch.Tensor) -> tuple[float, torch.Tensor]:
        logs = scores.log_softmax(dim=1)
        errors = logs.exp()
        if self._targets.ndim == 2:
            loss = -float((self._targets * logs).sum())
            errors -= self._targets
        else:
            loss = -float(logs[self._rows, self._targets].sum())
            errors[self._rows, self._targets] -= 1.0
        return loss / len(scores), errors.div_(len(scores))


def _first_bias(targets: np.ndarray, n_classes: int | None) -> np.ndarray:
    if n_classes is None:
        return np.array([targets.mean()], dtype=np.float32)
    shares = targets.mean(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=n_classes) / len(targets)
    # The score of a class without rows starts far below the others, and stays there.
    return np.log(np.maximum(shares, 1e-9)).astype(np.float32)
