"""The branch of one image column: AutoGluon classifies the vectors of a frozen network."""

from __future__ import annotations

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.ingest.features import Features
from multimodal_algo.predictors.inputs import VECTOR, Inputs


class ImageModel(BranchModel):
    """The branch (partial model) of one image column.

    It reads the vectors that ingest (the reading of rows) has made of the images.
    """

    def inputs(self, features: Features) -> Inputs:
        """Return the column of image vectors, see `BranchModel.inputs`."""
        (column,) = self.columns
        return Inputs({column + VECTOR: features.vectors[column]}, len(features))
