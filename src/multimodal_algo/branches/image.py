"""The branch of one image column: AutoGluon classifies the vectors of a frozen network."""

from __future__ import annotations

import pandas as pd

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.ingest.features import Features
from multimodal_algo.predictors.linear_features import vector_cells


class ImageModel(BranchModel):
    """One image column. Ingest has made vectors of its images, in training and in serving."""

    def inputs(self, features: Features) -> pd.DataFrame:
        """Return the image vectors."""
        return vector_cells(self.columns[0], features.vectors[self.columns[0]]).to_frame()
