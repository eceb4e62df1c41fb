"""Networks that are fine-tuned on the raw cells, by AutoGluon's ``MultiModalPredictor``."""

from __future__ import annotations

from typing import Any

import pandas as pd

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.branches.image import ImageModel
from multimodal_algo.branches.joint import JointModel
from multimodal_algo.branches.text import TextModel
from multimodal_algo.core.schema import Modality, modality_of
from multimodal_algo.ingest.features import Features
from multimodal_algo.predictors.finetune.predictor import FineTunedPredictor


def _raw(model: BranchModel, features: Features) -> pd.DataFrame:
    """The cells of the model's columns; images as JPEGs."""
    table = features.table[[column for column in model.columns if column in features.table]].copy()
    for column in model.columns:
        if modality_of(column) is Modality.IMAGE:
            pictures = features.pictures[column]
            table[column] = pd.Series([pictures.jpeg(row) for row in range(len(features))], dtype=object)
    return table


class _FineTuned(BranchModel):
    """Has a head that may learn from a teacher's."""

    head = FineTunedPredictor

    def _options(self) -> dict[str, Any]:
        taught = self.teacher is not None and isinstance(self.teacher._head, FineTunedPredictor)
        return {"teacher": self.teacher._head} if taught else {}  # type: ignore[union-attr]


class FineTunedTextModel(_FineTuned, TextModel):
    """The text columns, given to a sentence network that is fine-tuned."""

    def inputs(self, features: Features) -> pd.DataFrame:
        """The texts."""
        return _raw(self, features)


class FineTunedImageModel(_FineTuned, ImageModel):
    """One image column, given to an image network that is fine-tuned. Of several images in a cell it sees the first."""

    def inputs(self, features: Features) -> pd.DataFrame:
        """The images as JPEGs."""
        return _raw(self, features)


class EarlyFusionModel(_FineTuned, JointModel):
    """All columns in one network that is fine-tuned end to end."""

    def inputs(self, features: Features) -> pd.DataFrame:
        """The cells as they are."""
        return _raw(self, features)
