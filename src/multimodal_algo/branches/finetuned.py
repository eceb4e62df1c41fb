"""Branches that fine-tune a network on the texts and images themselves, with AutoGluon's ``MultiModalPredictor``."""

from __future__ import annotations

import numpy as np

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.branches.image import ImageModel
from multimodal_algo.branches.joint import JointModel
from multimodal_algo.branches.text import TextModel
from multimodal_algo.core.schema import Modality, modality_of
from multimodal_algo.ingest.features import Features
from multimodal_algo.predictors.base import BranchPredictor
from multimodal_algo.predictors.inputs import Column, Inputs, objects


class _FineTunedModel(BranchModel):
    """A branch (partial model) that gives its predictor the cells themselves instead of vectors. Images are JPEGs."""

    @property
    def predictor_class(self) -> type[BranchPredictor]:
        """The class that fine-tunes the networks of this branch, see `BranchModel.predictor_class`."""
        from multimodal_algo.predictors.finetune.predictor import FineTunedPredictor  # other servers do without it

        return FineTunedPredictor

    def inputs(self, features: Features) -> Inputs:
        """Return the cells of the branch's columns, see `BranchModel.inputs`."""
        columns: dict[str, Column] = {c: features.cells[c] for c in self.columns if c in features.cells}
        for column in self.columns:
            if modality_of(column) is Modality.IMAGE:
                pictures = features.pictures[column]
                cells = [_cell(pictures.jpegs(row)) for row in range(len(features))]
                columns[column] = objects(cells)
        return Inputs(columns, len(features))


def _cell(images: list[bytes]) -> bytes | list[bytes] | None:
    """Return the images of one cell in the form that AutoMM takes: one image, a list of several, or None."""
    return images if len(images) > 1 else next(iter(images), None)


class FineTunedTextModel(_FineTunedModel, TextModel):
    """The branch (partial model) of all text columns with a fine-tuned sentence network."""


class FineTunedImageModel(_FineTunedModel, ImageModel):
    """The branch (partial model) of one image column with a fine-tuned image network.

    If a cell has several images, the network sees the first one, or as many as the setting
    ``model.timm_image.max_image_num_per_column`` says.
    """


class EarlyFusionModel(_FineTunedModel, JointModel):
    """The branch (partial model) of all columns with one network that is fine-tuned end to end.

    It votes on rows that lack no modality.
    """

    def completeness(self, features: Features) -> np.ndarray:
        """Return the share of filled cells in the emptiest modality of each row, float (rows,)."""
        return np.asarray(self.shares(features).min(axis=0))
