"""The branches of the text columns: AutoGluon gets their words and the vectors of frozen networks, or vectors alone."""

from __future__ import annotations

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.ingest.features import Features, VectorColumn
from multimodal_algo.predictors.inputs import VECTOR, Inputs


class TextModel(BranchModel):
    """The text columns. A missing text is ``""``. Ingest has made vectors of the texts, in training and in serving."""

    def inputs(self, features: Features) -> Inputs:
        """Return the texts and their vectors."""
        texts = {column: features.cells[column] for column in self.columns}
        return Inputs({**texts, **self.vectors(features)}, len(features))

    def vectors(self, features: Features) -> dict[str, VectorColumn]:
        """Return the vectors of the texts, by the name that predictors know them by."""
        return {column + VECTOR: features.vectors[column] for column in self.columns}


class TextVectorsModel(TextModel):
    """The text columns without their words.

    With few rows, a model of words and vectors learns the words of its rows by heart. The fusion weighs both.
    """

    def inputs(self, features: Features) -> Inputs:
        """Return the vectors of the texts."""
        return Inputs(self.vectors(features), len(features))
