"""Words and vectors as a few numbers that decision trees can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from scipy import sparse

from multimodal_algo.ingest.features import VectorColumn
from multimodal_algo.predictors.inputs import Column, Inputs, Table
from multimodal_algo.predictors.linear_features import LinearFeatures

# Trees look at one number at a time. The first components of words and of vectors hold most of what they can use.
_MOST_WORDS = 10_000
_OF_WORDS, _OF_VECTORS = 48, 32
# Share of the largest singular value. Where cells repeat, directions below it hold rounding errors alone. These differ
# from batch to batch, and trees would split them.
_LEAST_SHARE = 1e-3


class TreeFeatures:
    """Turns all words of a row, and all its vectors, into a few numbers for decision trees.

    The numbers are coordinates along the directions of greatest variance, as in a principal component analysis. See
    `LinearFeatures` for how words and vectors become numbers before that.
    """

    rich: Sequence[str] = ()
    """Columns of words and vectors. Trees take the other columns as they are."""
    _features: LinearFeatures
    _directions: Sequence[np.ndarray] = ()

    def fit(self, table: Table) -> None:
        """Learn the directions of greatest variance from the columns of a table."""
        inputs = Inputs.of(table)
        self.rich = [name for name, column in inputs.columns.items() if _is_rich(column)]
        self._directions = ()
        if self.rich:
            self._features = LinearFeatures(_MOST_WORDS)
            blocks = self._features.fit_transform(self._of_rich(inputs))
            self._directions = (_directions(blocks.sparse, _OF_WORDS), _directions(blocks.dense, _OF_VECTORS))

    def transform(self, table: Table) -> np.ndarray:
        """Return the coordinates of each row, float32 (rows, components)."""
        inputs = Inputs.of(table)
        if not self.rich:
            return np.zeros((len(inputs), 0), dtype=np.float32)
        blocks = self._features.transform(self._of_rich(inputs))
        words, vectors = self._directions
        return np.hstack([blocks.sparse @ words, blocks.dense @ vectors]).astype(np.float32)

    def _of_rich(self, inputs: Inputs) -> Inputs:
        return Inputs({name: inputs.columns[name] for name in self.rich}, inputs.rows)

    def state(self) -> dict[str, Any]:
        """Return everything that `fit` learned, for `restored`."""
        features = self._features.state() if self.rich else None
        return {"rich": list(self.rich), "features": features, "directions": list(self._directions)}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Self:
        """Return features that transform tables like those whose method `state` returned this `state`."""
        features = cls()
        features.rich, features._directions = state["rich"], state["directions"]
        if state["features"] is not None:
            features._features = LinearFeatures.restored(state["features"])
        return features


def _is_rich(column: Column) -> bool:
    return isinstance(column, VectorColumn) or (isinstance(column, np.ndarray) and column.dtype == object)


def _directions(columns: sparse.csr_matrix | np.ndarray, most: int) -> np.ndarray:
    """Return the directions of greatest variance, at most `most` of them, float32 (columns, directions)."""
    from sklearn.utils.extmath import randomized_svd  # serving does without it

    count = min(most, *columns.shape)
    if count == 0:
        return np.zeros((columns.shape[1], 0), dtype=np.float32)
    _, sizes, directions = randomized_svd(columns, count, random_state=0)
    is_kept = sizes > _LEAST_SHARE * sizes.max()
    return np.asarray(directions[is_kept].T, dtype=np.float32)
