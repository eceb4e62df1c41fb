"""Branches whose networks are fine-tuned on the raw cells, by AutoGluon's ``MultiModalPredictor``."""

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
    """A branch whose inputs are the cells of its columns, images as JPEGs."""

    @property
    def predictor_class(self) -> type[BranchPredictor]:
        """See `BranchModel.predictor_class`."""
        from multimodal_algo.predictors.finetune.predictor import FineTunedPredictor  # other servers do without it

        return FineTunedPredictor

    def inputs(self, features: Features) -> Inputs:
        """See `BranchModel.inputs`."""
        columns: dict[str, Column] = {c: features.cells[c] for c in self.columns if c in features.cells}
        for column in self.columns:
            if modality_of(column) is Modality.IMAGE:
                pictures = features.pictures[column]
                cells = [_cell(pictures.jpegs(row)) for row in range(len(features))]
                columns[column] = objects(cells)
        return Inputs(columns, len(features))


def _cell(images: list[bytes]) -> bytes | list[bytes] | None:
    """Return the images of a row as AutoMM takes them."""
    return images if len(images) > 1 else next(iter(images), None)


class FineTunedTextModel(_FineTunedModel, TextModel):
    """The text columns, with a sentence network that is fine-tuned."""


class FineTunedImageModel(_FineTunedModel, ImageModel):
    """One image column, with an image network that is fine-tuned.

    It sees the first of several images in a cell, or as many as ``model.timm_image.max_image_num_per_column`` says.
    """


class EarlyFusionModel(_FineTunedModel, JointModel):
    """All columns, with one network that is fine-tuned end to end. A row has a vote where no modality is missing."""

    def completeness(self, features: Features) -> np.ndarray:
        """Return the least share of filled cells among the modalities, float (rows,)."""
        return np.asarray(self.shares(features).min(axis=0))
