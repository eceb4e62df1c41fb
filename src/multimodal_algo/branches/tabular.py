"""The branches of numbers and of categories. AutoGluon gets the cells as they are."""

from __future__ import annotations

import numpy as np

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.ingest.features import Features
from multimodal_algo.predictors.inputs import CategoryCells, Inputs
from multimodal_algo.predictors.linear_features import WORDS

UNKNOWN = "unknown"


class NumModel(BranchModel):
    """The branch (partial model) of all columns of numbers. A missing number counts as 0.

    The guide asks for 0 and not for the mean.
    """

    def inputs(self, features: Features) -> Inputs:
        """Return the columns of numbers, float64 (rows,), with 0 for missing ones."""
        cells = {column: features.cells[column] for column in self.columns}
        return Inputs({c: np.where(features.filled(c), numbers, 0.0) for c, numbers in cells.items()}, len(features))


class CatModel(BranchModel):
    """The branch (partial model) of all columns of categories. A missing category counts as the value ``unknown``."""

    def inputs(self, features: Features) -> Inputs:
        """Return each column of categories twice: as categories, and as text.

        As text, cells like ``India, France`` share words with other cells. As categories, digits and sentences are
        whole values. Without that type, AutoGluon would read them as numbers and text.
        """
        cells = {c: np.where(features.filled(c), features.cells[c], UNKNOWN) for c in self.columns}
        categories = {column: CategoryCells.of(values) for column, values in cells.items()}
        return Inputs({**categories, **{column + WORDS: values for column, values in cells.items()}}, len(features))
