"""Rows as the modality models take them, made in one way for training and for serving."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from multimodal_algo.core.schema import FeatureSchema, Modality, modality_of
from multimodal_algo.ingest.pictures import PictureColumn, encode_pictures

Encoder = Callable[[Sequence[Any]], np.ndarray]
"""A frozen network: from images, uint8 (224, 224, 3), or from texts to float32 vectors (cells, width)."""

Encoders = Mapping[Modality, Encoder]
"""Those of the modalities that need one."""


@dataclass(frozen=True)
class VectorColumn:
    """The images or texts of one column, as vectors. A row without one costs one index entry and nothing else.

    Parameters
    ----------
    vectors
        float16 (vectors, width); may be a memory map.
    index
        Per row the place of its vector in `vectors`, int64 (rows,); -1 where the cell is empty.
    """

    vectors: np.ndarray
    index: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """Which rows have a vector, bool (rows,)."""
        return self.index >= 0

    def take(self, rows: np.ndarray) -> VectorColumn:
        """The rows at the positions `rows`; no vector is copied."""
        return VectorColumn(self.vectors, self.index[rows])


@dataclass(frozen=True)
class Features:
    """Rows by column.

    Parameters
    ----------
    table
        Text and categories as strings (``""`` missing), numbers as float64 (NaN missing); no image columns.
    vectors
        The image and the text columns.
    pictures
        The image columns, as far as pictures are kept.
    """

    table: pd.DataFrame
    vectors: Mapping[str, VectorColumn]
    pictures: Mapping[str, PictureColumn] = field(default_factory=dict)
    _filled: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    def filled(self, column: str) -> np.ndarray:
        """Which rows have something in `column`, bool (rows,); looked at once."""
        if column not in self._filled:
            if column in self.vectors:
                self._filled[column] = self.vectors[column].present
            elif modality_of(column) is Modality.NUM:
                self._filled[column] = self.table[column].notna().to_numpy()
            else:
                self._filled[column] = self.table[column].to_numpy(dtype=object) != ""
        return self._filled[column]

    def __len__(self) -> int:
        return len(self.table)

    def take(self, rows: np.ndarray) -> Features:
        """The rows at the positions `rows`, int (n,), with a fresh index."""
        return Features(
            self.table.iloc[rows].reset_index(drop=True),
            {column: vectors.take(rows) for column, vectors in self.vectors.items()},
            {column: pictures.take(rows) for column, pictures in self.pictures.items()},
        )


def build_features(
    schema: FeatureSchema, cells: Mapping[str, Sequence[Any]], rows: int, encoders: Encoders, picture_side: int = 0
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
    encoders
        Those of the modalities that the schema has.
    picture_side
        Pixels of the pictures that are kept; 0 keeps none.
    """
    table = pd.DataFrame(index=pd.RangeIndex(rows))
    vectors: dict[str, VectorColumn] = {}
    pictures: dict[str, PictureColumn] = {}
    for column in schema.features:
        modality = modality_of(column)
        if modality is Modality.IMAGE:
            vectors[column] = _encoded_images(cells[column], encoders[modality])
            pictures[column] = encode_pictures(cells[column], picture_side)
            continue
        if modality is Modality.NUM:
            table[column] = np.asarray(cells[column], dtype=np.float64)
            continue
        table[column] = pd.Series(list(cells[column]), dtype=object, index=table.index)
        if modality is Modality.TEXT:
            vectors[column] = _encoded_texts(cells[column], encoders[modality])
    return Features(table, vectors, pictures)


def _encoded_images(cells: Sequence[tuple[np.ndarray, ...]], encode: Encoder) -> VectorColumn:
    counts = np.array([len(images) for images in cells], dtype=np.int64)
    present = counts > 0
    encoded = encode([image for images in cells for image in images])
    sums = np.zeros((int(present.sum()), encoded.shape[1]), dtype=np.float32)
    np.add.at(sums, np.repeat(np.arange(len(sums)), counts[present]), encoded)
    means = sums / counts[present][:, None]
    # float16 halves what training stores; serving rounds too, so that both see the same numbers.
    return VectorColumn(means.astype(np.float16), np.where(present, np.cumsum(present) - 1, -1))


def _encoded_texts(cells: Sequence[str], encode: Encoder) -> VectorColumn:
    texts = [text for text in dict.fromkeys(cells) if text]
    place = {text: number for number, text in enumerate(texts)}
    index = np.array([place.get(text, -1) for text in cells], dtype=np.int64)
    return VectorColumn(encode(texts).astype(np.float16), index)
