"""The branch of the text columns: AutoGluon classifies their words and the vectors of a frozen sentence network."""

from __future__ import annotations

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.ingest.features import Features
from multimodal_algo.predictors.inputs import VECTOR, Inputs


class TextModel(BranchModel):
    """The text columns. A missing text is ``""``. Ingest has made vectors of the texts, in training and in serving."""

    def inputs(self, features: Features) -> Inputs:
        """Return the texts and their vectors."""
        texts = {column: features.cells[column] for column in self.columns}
        vectors = {column + VECTOR: features.vectors[column] for column in self.columns}
        return Inputs({**texts, **vectors}, len(features))
