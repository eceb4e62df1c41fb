"""The branch of the text columns: AutoGluon classifies their words and the vectors of a frozen sentence network."""

from __future__ import annotations

import pandas as pd

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.ingest.features import Features
from multimodal_algo.predictors.linear_features import vector_cells


class TextModel(BranchModel):
    """The text columns. A missing text is ``""``. Ingest has made vectors of the texts, in training and in serving."""

    def inputs(self, features: Features) -> pd.DataFrame:
        """Return the texts and their vectors."""
        vectors = [vector_cells(column, features.vectors[column]) for column in self.columns]
        return pd.concat([features.table[list(self.columns)], *vectors], axis=1)
