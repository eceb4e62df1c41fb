"""Numbers and categories, given to AutoGluon as columns."""

from __future__ import annotations

import numpy as np
import pandas as pd

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.ingest.features import Features

UNKNOWN = "unknown"
_WORDS = ".words"


class NumModel(BranchModel):
    """The numeric columns; a missing number is 0 (the guide: not the mean)."""

    def inputs(self, features: Features) -> pd.DataFrame:
        """The numbers, float64."""
        return features.table[list(self.columns)].fillna(0.0)


class CatModel(BranchModel):
    """The categorical columns; a missing category is ``unknown``."""

    def inputs(self, features: Features) -> pd.DataFrame:
        """The categories, and once more as text: cells such as ``India, France`` have words in common.

        They are pandas categories: AutoGluon would read digits as numbers and sentences as text.
        """
        cells = {c: features.table[c].to_numpy(dtype=object) for c in self.columns}
        known = {column: np.where(features.filled(column), values, UNKNOWN) for column, values in cells.items()}
        return pd.DataFrame(
            {column: pd.Categorical(values) for column, values in known.items()}
            | {column + _WORDS: values for column, values in known.items()},
            index=features.table.index,
        )
