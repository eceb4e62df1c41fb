"""Gradient boosting over columns of every kind, as one of the models that AutoGluon fits."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from autogluon.common.features.types import R_BOOL, R_CATEGORY, R_FLOAT, R_INT, R_OBJECT
from autogluon.core.models import AbstractModel
from autogluon.tabular.models import LGBModel

from multimodal_algo.predictors.lightgbm_library import Booster
from multimodal_algo.predictors.stored_models import BoostedTrees
from multimodal_algo.predictors.threads import ROWS_FOR_THREADS
from multimodal_algo.predictors.tree_features import TreeFeatures


class MixedTreeModel(LGBModel):
    """LightGBM on numbers, categories, and the main components of words and vectors.

    A linear model adds up the contributions of the columns. Trees can also learn what a word means together with a
    certain number or category. The hyperparameters are those of AutoGluon's ``GBM``.
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

    def _preprocess_nonadaptive(self, X: pd.DataFrame, is_train: bool = False, **kwargs: Any) -> pd.DataFrame:
        # AutoGluon renames columns for LightGBM here, before words and vectors are known by their names.
        self._requires_remap = False
        return AbstractModel._preprocess_nonadaptive(self, X, **kwargs)

    def _preprocess(self, X: pd.DataFrame, is_train: bool = False, **kwargs: Any) -> pd.DataFrame:
        if is_train:
            self._components = TreeFeatures()
            self._components.fit(X)
        plain = X.drop(columns=self._components.rich)
        components = pd.DataFrame(self._components.transform(X), index=X.index)
        table = pd.concat([plain, components], axis=1)
        numbered = table.set_axis([f"column{number}" for number in range(table.shape[1])], axis=1)
        return super()._preprocess(numbered, is_train=is_train, **kwargs)

    @property
    def predictor(self) -> BoostedTrees:
        """The fitted model in the form that predicts without AutoGluon."""
        plain = [column for column in self._features_internal if column not in self._components.rich]
        return BoostedTrees(plain, Booster(self.model.model_to_string()), self._components)
