"""The branches of numbers and of categories, which AutoGluon gets as columns."""

from __future__ import annotations

import numpy as np
import pandas as pd

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.ingest.features import Features
from multimodal_algo.predictors.linear_features import WORDS

UNKNOWN = "unknown"


class NumModel(BranchModel):
    """The columns of numbers. A missing number is 0. The guide asks for 0, not for the mean."""

    def inputs(self, features: Features) -> pd.DataFrame:
        """Return the numbers, float64."""
        return features.table[list(self.columns)].fillna(0.0)


class CatModel(BranchModel):
    """The columns of categories. A missing category is ``unknown``."""

    def inputs(self, features: Features) -> pd.DataFrame:
        """Return each column of categories twice: as pandas categories and as text.

        As text, cells like ``India, France`` share words. Without the type of a category, AutoGluon would read digits
        as numbers and sentences as text.
        """
        cells = {c: features.table[c].to_numpy(dtype=object) for c in self.columns}
        known = {column: np.where(features.filled(column), values, UNKNOWN) for column, values in cells.items()}
        return pd.DataFrame(
            {column: pd.Categorical(values) for column, values in known.items()}
            | {column + WORDS: values for column, values in known.items()},
            index=features.table.index,
        )
