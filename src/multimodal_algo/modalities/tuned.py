"""Networks that are fine-tuned on the raw cells, by AutoGluon's ``MultiModalPredictor``."""

from __future__ import annotations

from typing import Any

import pandas as pd

from multimodal_algo.ingest.features import Features
from multimodal_algo.modalities.base import ModalityModel
from multimodal_algo.modalities.image import ImageModel
from multimodal_algo.modalities.joint import JointModel
from multimodal_algo.modalities.text import TextModel
from multimodal_algo.modalities.tuned_head import TunedHead
from multimodal_algo.schema import Modality, modality_of


def _raw(model: ModalityModel, features: Features) -> pd.DataFrame:
    """The cells of the model's columns; images as JPEGs."""
    table = features.table[[column for column in model.columns if column in features.table]].copy()
    for column in model.columns:
        if modality_of(column) is Modality.IMAGE:
            pictures = features.pictures[column]
            table[column] = pd.Series([pictures.jpeg(row) for row in range(len(features))], dtype=object)
    return table


class _Tuned(ModalityModel):
    """Has a head that may learn from a teacher's."""

    head = TunedHead

    def _options(self) -> dict[str, Any]:
        taught = self.teacher is not None and isinstance(self.teacher._head, TunedHead)
        return {"teacher": self.teacher._head} if taught else {}  # type: ignore[union-attr]


class TunedTextModel(_Tuned, TextModel):
    """The text columns, given to a sentence network that is fine-tuned."""

    def inputs(self, features: Features) -> pd.DataFrame:
        """The texts."""
        return _raw(self, features)


class TunedImageModel(_Tuned, ImageModel):
    """One image column, given to an image network that is fine-tuned. Of several images in a cell it sees the first."""

    def inputs(self, features: Features) -> pd.DataFrame:
        """The images as JPEGs."""
        return _raw(self, features)


class EarlyFusionModel(_Tuned, JointModel):
    """All columns in one network that is fine-tuned end to end."""

    def inputs(self, features: Features) -> pd.DataFrame:
        """The cells as they are."""
        return _raw(self, features)
