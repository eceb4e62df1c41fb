"""The branches of the text columns. One reads words and the vectors of frozen networks, the other only the vectors."""

from __future__ import annotations

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.ingest.features import Features, VectorColumn
from multimodal_algo.predictors.inputs import VECTOR, Inputs


class TextModel(BranchModel):
    """The branch (partial model) of all text columns. A missing text is ``""``.

    Ingest (the reading of rows) has made vectors of the texts.
    """

    def inputs(self, features: Features) -> Inputs:
        """Return the texts and their vectors, see `BranchModel.inputs`."""
        texts = {column: features.cells[column] for column in self.columns}
        return Inputs({**texts, **self.vectors(features)}, len(features))

    def vectors(self, features: Features) -> dict[str, VectorColumn]:
        """Return the columns of the texts' vectors, by the names under which predictors expect them."""
        return {column + VECTOR: features.vectors[column] for column in self.columns}


class TextVectorsModel(TextModel):
    """The branch (partial model) of all text columns that reads only their vectors, and not their words.

    If there are few rows, a model that reads words learns these rows by heart. The fusion weighs this branch against
    it.
    """

    def inputs(self, features: Features) -> Inputs:
        """Return the vectors of the texts, see `BranchModel.inputs`."""
        return Inputs(self.vectors(features), len(features))
