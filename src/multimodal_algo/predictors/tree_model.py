"""Gradient boosting over columns of every kind, as one of the models that AutoGluon fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from autogluon.common.features.types import R_BOOL, R_CATEGORY, R_FLOAT, R_INT, R_OBJECT
from autogluon.tabular.models import LGBModel
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from multimodal_algo.predictors.linear_features import LinearFeatures
from multimodal_algo.predictors.threads import ROWS_FOR_THREADS

# Trees look at one number at a time. The first components of words and of vectors hold most of what they can use.
_MOST_WORDS = 10_000
_OF_WORDS, _OF_VECTORS = 48, 32


class MixedTreeModel(LGBModel):
    """LightGBM on numbers, categories, and the main components of words and vectors.

    A linear model adds up what each column says. Trees learn what a word means next to a certain number or category.
    The hyperparameters are those of AutoGluon's ``GBM``.
    """

    ag_key = "TREES"
    ag_name = "MixedTrees"
    _default_auxiliary_params_extra: ClassVar[dict[str, Any]] = {
        "valid_raw_types": [R_BOOL, R_INT, R_FLOAT, R_CATEGORY, R_OBJECT],
        "drop_unique": False,
    }

    def _fit(self, X: pd.DataFrame, y: pd.Series, num_cpus: int = 0, **kwargs: Any) -> None:
        # On few rows the threads wait for each other. On a busy machine, a fit took ten times as long.
        super()._fit(X=X, y=y, num_cpus=num_cpus if len(X) >= ROWS_FOR_THREADS else 1, **kwargs)

    def _preprocess(self, X: pd.DataFrame, is_train: bool = False, **kwargs: Any) -> pd.DataFrame:
        if is_train:
            self._components = TreeFeatures()
            self._components.fit(X)
        return super()._preprocess(self._components.transform(X), is_train=is_train, **kwargs)


class TreeFeatures:
    """Columns for trees, learned from the columns of a table. See `LinearFeatures` for the columns.

    Numbers and categories stay as they are. All words together, and all vectors together, become their coordinates
    along the directions of greatest variance.
    """

    def fit(self, table: pd.DataFrame) -> None:
        """Learn from a table."""
        self._rich = [column for column in table.columns if table[column].dtype == object]
        self._directions: Sequence[np.ndarray] = ()
        if self._rich:
            self._features = LinearFeatures(_MOST_WORDS)
            blocks = self._features.fit_transform(table[self._rich])
            self._directions = (_directions(blocks.sparse, _OF_WORDS), _directions(blocks.dense, _OF_VECTORS))

    def transform(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the columns of the rows of `table`."""
        plain = table.drop(columns=self._rich)
        if not self._rich:
            return plain
        blocks = self._features.transform(table[self._rich])
        words, vectors = self._directions
        numbers = np.hstack([blocks.sparse @ words, blocks.dense @ vectors]).astype(np.float32)
        components = pd.DataFrame(numbers, index=table.index).add_prefix("component")
        return pd.concat([plain, components], axis=1)


def _directions(columns: sparse.csr_matrix | np.ndarray, most: int) -> np.ndarray:
    """Return the directions of greatest variance, float32 (columns, directions)."""
    count = min(most, *columns.shape)
    if count == 0:
        return np.zeros((columns.shape[1], 0), dtype=np.float32)
    return np.asarray(randomized_svd(columns, count, random_state=0)[2].T, dtype=np.float32)
