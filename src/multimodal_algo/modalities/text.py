"""Text columns: a frozen sentence network turns each into a vector, AutoGluon classifies the vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from multimodal_algo.ingest.features import Features
from multimodal_algo.modalities.backbones import TextBackbone
from multimodal_algo.modalities.base import ModalityModel


class TextModel(ModalityModel):
    """The text columns, one vector each, side by side; missing text is ``""``."""

    vectors_only = True

    def __init__(
        self, name: str, columns: tuple[str, ...], n_classes: int, backbone: TextBackbone | None = None
    ) -> None:
        super().__init__(name, columns, n_classes)
        self._backbone = backbone

    def completeness(self, features: Features) -> np.ndarray:
        """Share of texts that are there."""
        return (features.table[list(self.columns)] != "").to_numpy().mean(axis=1)

    def inputs(self, features: Features) -> pd.DataFrame:
        """The vectors of all text columns, float32."""
        assert self._backbone is not None
        return vector_frame(
            np.concatenate([self._backbone.encode(features.table[column].tolist()) for column in self.columns], axis=1)
        )

    def save(self, directory: Path) -> None:
        """Write the head and, beside it, the sentence network."""
        assert self._backbone is not None
        super().save(directory)
        self._backbone.save(directory / "backbone")

    def load(self, directory: Path) -> None:
        """Read the head and the sentence network."""
        super().load(directory)
        self._backbone = TextBackbone(directory / "backbone")


def vector_frame(vectors: np.ndarray) -> pd.DataFrame:
    """Vectors (rows, width) as the columns ``v0`` … that AutoGluon takes."""
    return pd.DataFrame(vectors, columns=[f"v{n}" for n in range(vectors.shape[1])], copy=False)
