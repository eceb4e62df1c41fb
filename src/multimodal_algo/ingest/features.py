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
class ImageColumn:
    """The images of one column, as vectors. A row without an image costs one index entry and nothing else.

    Parameters
    ----------
    vectors
        Of the rows that have an image, float16 (images, width); may be a memory map.
    index
        Per row the place of its vector in `vectors`, int64 (rows,); -1 where there is no image.
    """

    vectors: np.ndarray
    index: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """Which rows have an image, bool (rows,)."""
        return self.index >= 0

    def take(self, rows: np.ndarray) -> ImageColumn:
        """The rows at the positions `rows`; no vector is copied."""
        return ImageColumn(self.vectors, self.index[rows])

    def dense(self) -> np.ndarray:
        """The vectors in the order of the rows, float32 (rows, width).

        Raises
        ------
        ValueError
            A row has no image.
        """
        if not self.present.all():
            raise ValueError("a row without an image has no vector")
        return np.asarray(self.vectors[self.index], dtype=np.float32)


@dataclass(frozen=True)
class Features:
    """Rows by column.

    Parameters
    ----------
    table
        Text and categories as strings (``""`` missing), numbers as float64 (NaN missing); no image columns.
    images
        The image columns.
    """

    table: pd.DataFrame
    images: Mapping[str, ImageColumn]

    def __len__(self) -> int:
        return len(self.table)

    def take(self, rows: np.ndarray) -> Features:
        """The rows at the positions `rows`, int (n,), with a fresh index."""
        return Features(
            self.table.iloc[rows].reset_index(drop=True),
            {column: images.take(rows) for column, images in self.images.items()},
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
    images: dict[str, ImageColumn] = {}
    for column in schema.features:
        modality = modality_of(column)
        if modality is Modality.IMAGE:
            if encode is None:
                raise ValueError("image columns need an encoder")
            images[column] = _encoded(cells[column], encode)
        elif modality is Modality.NUM:
            table[column] = np.asarray(cells[column], dtype=np.float64)
        else:
            table[column] = pd.Series(list(cells[column]), dtype=object, index=table.index)
    return Features(table, images)


def _encoded(cells: Sequence[tuple[np.ndarray, ...]], encode: ImageEncoder) -> ImageColumn:
    counts = np.array([len(images) for images in cells], dtype=np.int64)
    present = counts > 0
    encoded = encode([image for images in cells for image in images])
    sums = np.zeros((int(present.sum()), encoded.shape[1]), dtype=np.float32)
    np.add.at(sums, np.repeat(np.arange(len(sums)), counts[present]), encoded)
    means = sums / counts[present][:, None]
    # float16 halves what training stores; serving rounds too, so that both see the same numbers.
    return ImageColumn(means.astype(np.float16), np.where(present, np.cumsum(present) - 1, -1))
