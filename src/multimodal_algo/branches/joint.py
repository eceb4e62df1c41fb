"""The branch that reads columns of several modalities in one model, to learn what no single modality shows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.branches.image import ImageModel
from multimodal_algo.branches.tabular import CatModel, NumModel
from multimodal_algo.branches.text import TextModel
from multimodal_algo.core.schema import Modality, modality_of
from multimodal_algo.core.task import Task
from multimodal_algo.ingest.features import Features
from multimodal_algo.predictors.inputs import Column, Inputs


class JointModel(BranchModel):
    """The branch (partial model) of columns of several modalities.

    It votes on a row if at least two modalities have enough filled cells.

    The model also learns from rows that lack a modality. There it gets ``""`` and no vector for a text, no vector for
    an image, NaN for a number, and ``unknown`` for a category.
    """

    def __init__(self, name: str, columns: tuple[str, ...], task: Task) -> None:
        super().__init__(name, columns, task)
        self._parts: list[BranchModel] = []
        for modality, model_class in ((Modality.TEXT, TextModel), (Modality.NUM, NumModel), (Modality.CAT, CatModel)):
            if of_modality := tuple(column for column in columns if modality_of(column) is modality):
                self._parts.append(model_class(name, of_modality, task))
        self._parts += [ImageModel(name, (c,), task) for c in columns if modality_of(c) is Modality.IMAGE]

    def completeness(self, features: Features) -> np.ndarray:
        """Return the share of filled cells in the second fullest modality of each row, float (rows,)."""
        return np.sort(self.shares(features), axis=0)[-2]

    def shares(self, features: Features) -> np.ndarray:
        """Return the share of filled cells of each modality in each row, float (modalities, rows)."""
        return np.array([part.completeness(features) for part in self._parts])

    def inputs(self, features: Features) -> Inputs:
        """Return the columns of all modalities together, see `BranchModel.inputs`."""
        columns = {name: column for part in self._parts for name, column in _columns(part, features).items()}
        return Inputs(columns, len(features))


def _columns(part: BranchModel, features: Features) -> Mapping[str, Column]:
    if isinstance(part, NumModel):
        return {column: features.cells[column] for column in part.columns}
    return part.inputs(features).columns
