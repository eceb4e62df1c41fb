"""The branches of numbers and of categories, which AutoGluon gets as columns."""

from __future__ import annotations

import numpy as np

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.ingest.features import Features
from multimodal_algo.predictors.inputs import CategoryCells, Inputs
from multimodal_algo.predictors.linear_features import WORDS

UNKNOWN = "unknown"


class NumModel(BranchModel):
    """The columns of numbers. A missing number is 0. The guide asks for 0, not for the mean."""

    def inputs(self, features: Features) -> Inputs:
        """Return the numbers, float64."""
        cells = {column: features.cells[column] for column in self.columns}
        return Inputs({c: np.where(features.filled(c), numbers, 0.0) for c, numbers in cells.items()}, len(features))


class CatModel(BranchModel):
    """The columns of categories. A missing category is ``unknown``."""

    def inputs(self, features: Features) -> Inputs:
        """Return each column of categories twice: as categories and as text.

        As text, cells like ``India, France`` share words. Without the type of a category, AutoGluon would read digits
        as numbers and sentences as text.
        """
        cells = {c: np.where(features.filled(c), features.cells[c], UNKNOWN) for c in self.columns}
        categories = {column: CategoryCells.of(values) for column, values in cells.items()}
        return Inputs({**categories, **{column + WORDS: values for column, values in cells.items()}}, len(features))
