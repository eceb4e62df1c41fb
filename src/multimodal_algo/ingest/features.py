"""Rows as the modality models take them, made in one way for training and for serving."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from multimodal_algo.schema import FeatureSchema, Modality, modality_of

ImageEncoder = Callable[[Sequence[np.ndarray]], np.ndarray]
"""From uint8 images (224, 224, 3) to float32 vectors (images, width)."""


@dataclass(frozen=True)
class Features:
    """Rows by column.

    Parameters
    ----------
    table
        Text and categories as strings (``""`` missing), numbers as float64 (NaN missing); no image columns.
    image_vectors
        Per image column a float16 array (rows, width); zeros where there is no image.
    image_present
        Per image column a bool array (rows,).
    """

    table: pd.DataFrame
    image_vectors: Mapping[str, np.ndarray]
    image_present: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.table)

    def take(self, rows: np.ndarray) -> Features:
        """The rows at the positions `rows`, int (n,), with a fresh index."""
        return Features(
            self.table.iloc[rows].reset_index(drop=True),
            {column: vectors[rows] for column, vectors in self.image_vectors.items()},
            {column: present[rows] for column, present in self.image_present.items()},
        )


def build_features(
    schema: FeatureSchema, cells: Mapping[str, Sequence[Any]], rows: int, encode: ImageEncoder | None
) -> Features:
    """Features of parsed cells (see `parse_cell`), column by column.

    A cell with several images gets the mean of their vectors.

    Parameters
    ----------
    schema
        The columns.
    cells
        Per feature column its `rows` values.
    rows
        Number of rows (a dataset of images alone has an empty table).
    encode
        The image backbone; None where the schema has no image column.
    """
    table = pd.DataFrame(index=pd.RangeIndex(rows))
    vectors: dict[str, np.ndarray] = {}
    present: dict[str, np.ndarray] = {}
    for column in schema.features:
        modality = modality_of(column)
        if modality is Modality.IMAGE:
            if encode is None:
                raise ValueError("image columns need an encoder")
            vectors[column], present[column] = _encoded(cells[column], encode)
        elif modality is Modality.NUM:
            table[column] = np.asarray(cells[column], dtype=np.float64)
        else:
            table[column] = pd.Series(list(cells[column]), dtype=object, index=table.index)
    return Features(table, vectors, present)


def _encoded(cells: Sequence[tuple[np.ndarray, ...]], encode: ImageEncoder) -> tuple[np.ndarray, np.ndarray]:
    counts = np.array([len(images) for images in cells], dtype=np.int64)
    encoded = encode([image for images in cells for image in images])
    sums = np.zeros((len(cells), encoded.shape[1]), dtype=np.float32)
    np.add.at(sums, np.repeat(np.arange(len(cells)), counts), encoded)
    means = sums / np.maximum(counts, 1)[:, None]
    # float16 halves what training stores; serving rounds too, so that both see the same numbers.
    return means.astype(np.float16), counts > 0
