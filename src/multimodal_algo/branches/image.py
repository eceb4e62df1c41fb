"""The branch of one image column: AutoGluon classifies the vectors of a frozen network."""

from __future__ import annotations

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.ingest.features import Features
from multimodal_algo.predictors.inputs import VECTOR, Inputs


class ImageModel(BranchModel):
    """One image column. Ingest has made vectors of its images, in training and in serving."""

    def inputs(self, features: Features) -> Inputs:
        """Return the image vectors."""
        (column,) = self.columns
        return Inputs({column + VECTOR: features.vectors[column]}, len(features))
