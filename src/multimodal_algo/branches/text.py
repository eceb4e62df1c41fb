"""Text columns: AutoGluon classifies their words together with the vectors of a frozen sentence network."""

from __future__ import annotations

import pandas as pd

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.ingest.features import Features
from multimodal_algo.predictors.linear_features import vector_cells


class TextModel(BranchModel):
    """The text columns; missing text is ``""``. Texts became vectors at ingest, in training as in serving."""

    def inputs(self, features: Features) -> pd.DataFrame:
        """The texts, and their vectors."""
        vectors = [vector_cells(column, features.vectors[column]) for column in self.columns]
        return pd.concat([features.table[list(self.columns)], *vectors], axis=1)
