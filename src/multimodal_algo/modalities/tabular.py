"""Numbers and categories, given to AutoGluon as columns."""

from __future__ import annotations

import numpy as np
import pandas as pd

from multimodal_algo.ingest.features import Features
from multimodal_algo.modalities.base import ModalityModel

UNKNOWN = "unknown"
_WORDS = ".words"


class NumModel(ModalityModel):
    """The numeric columns; a missing number is 0 (the guide: not the mean)."""

    def completeness(self, features: Features) -> np.ndarray:
        """Share of numbers that are there."""
        return features.table[list(self.columns)].notna().to_numpy().mean(axis=1)

    def inputs(self, features: Features) -> pd.DataFrame:
        """The numbers, float64."""
        return features.table[list(self.columns)].fillna(0.0)


class CatModel(ModalityModel):
    """The categorical columns; a missing category is ``unknown``."""

    def completeness(self, features: Features) -> np.ndarray:
        """Share of categories that are there."""
        return (features.table[list(self.columns)] != "").to_numpy().mean(axis=1)

    def inputs(self, features: Features) -> pd.DataFrame:
        """The categories, and once more as text: cells such as ``India, France`` have words in common.

        They are pandas categories: AutoGluon would read digits as numbers and sentences as text.
        """
        cells = features.table[list(self.columns)].replace("", UNKNOWN)
        return pd.concat([cells.astype("category"), cells.add_suffix(_WORDS)], axis=1)
