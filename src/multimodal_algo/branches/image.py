"""One image column: the vectors of a frozen network, classified by AutoGluon."""

from __future__ import annotations

import pandas as pd

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.ingest.features import Features
from multimodal_algo.predictors.linear_features import vector_cells


class ImageModel(BranchModel):
    """One image column. Its images became vectors at ingest, in training as in serving."""

    def inputs(self, features: Features) -> pd.DataFrame:
        """The image vectors."""
        return vector_cells(self.columns[0], features.vectors[self.columns[0]]).to_frame()
