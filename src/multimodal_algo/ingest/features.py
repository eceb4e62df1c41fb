"""Features: rows as the branches take them, made by the same code for training and serving."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from multimodal_algo.core.schema import FeatureSchema, Modality, modality_of
from multimodal_algo.ingest.decoded import DecodedImages
from multimodal_algo.ingest.image_input import IMAGENET, ImageInput
from multimodal_algo.ingest.pictures import PictureColumn, encode_pictures

Encoder = Callable[[Sequence[Any]], np.ndarray]
"""A frozen network as a function: images, uint8 (side, side, 3), or texts become vectors, float32 (cells, width)."""

Encoders = Mapping[Modality, Encoder]
"""The encoders of texts and of images, where there are such columns."""


@dataclass(frozen=True)
class ImageEncoder:
    """The encoder of images, with the images that it takes.

    Parameters
    ----------
    encode
        The network as a function.
    takes
        The images that it takes.
    """

    encode: Encoder
    takes: ImageInput

    def __call__(self, cells: Sequence[Any]) -> np.ndarray:
        """Return the vectors of images, float32 (images, width)."""
        return self.encode(cells)


def image_input(encoders: Encoders) -> ImageInput:
    """Return the images that the encoder of images takes."""
    encoder = encoders.get(Modality.IMAGE)
    return encoder.takes if isinstance(encoder, ImageEncoder) else IMAGENET


@dataclass(frozen=True)
class VectorColumn:
    """The images or texts of one column, as vectors. Empty cells do not take space in `vectors`.

    Parameters
    ----------
    vectors
        Vectors, float16 (vectors, width). It may be a memory map.
    index
        Position of each row's vector in `vectors`, int64 (rows,). It is -1 for an empty cell.
    """

    vectors: np.ndarray
    index: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """Whether each row has a vector, bool (rows,)."""
        return self.index >= 0

    def take(self, rows: np.ndarray) -> VectorColumn:
        """Return the rows at the positions `rows`, int (n,). Vectors are not copied."""
        return VectorColumn(self.vectors, self.index[rows])

    @classmethod
    def joined(cls, parts: Sequence[VectorColumn]) -> VectorColumn:
        """Return the rows of all parts in one column."""
        starts = np.cumsum([0, *(len(part.vectors) for part in parts)])
        index = [np.where(part.present, part.index + start, -1) for part, start in zip(parts, starts, strict=False)]
        return cls(np.concatenate([part.vectors for part in parts]), np.concatenate(index))


@dataclass(frozen=True)
class Features:
    """Rows, column by column.

    Parameters
    ----------
    table
        All columns but images: texts and categories as strings, with ``""`` for a missing cell, and numbers as float64,
        with NaN for a missing cell.
    vectors
        Vectors of the text and image columns.
    pictures
        Pictures of the image columns, where rows have them.
    """

    table: pd.DataFrame
    vectors: Mapping[str, VectorColumn]
    pictures: Mapping[str, PictureColumn] = field(default_factory=dict)
    _filled: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    def filled(self, column: str) -> np.ndarray:
        """Return whether each row has a value in `column`, bool (rows,). The result is cached."""
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
        """Return the rows at the positions `rows`, int (n,), with a new index."""
        return Features(
            self.table.iloc[rows].reset_index(drop=True),
            {column: vectors.take(rows) for column, vectors in self.vectors.items()},
            {column: pictures.take(rows) for column, pictures in self.pictures.items()},
        )

    @classmethod
    def joined(cls, parts: Sequence[Features]) -> Features:
        """Return the rows of all parts, which have the same columns, with a new index."""
        first = parts[0]
        return cls(
            pd.concat([part.table for part in parts], ignore_index=True),
            {name: VectorColumn.joined([part.vectors[name] for part in parts]) for name in first.vectors},
            {name: PictureColumn.joined([part.pictures[name] for part in parts]) for name in first.pictures},
        )


def build_features(
    schema: FeatureSchema, cells: Mapping[str, Sequence[Any]], rows: int, encoders: Encoders, picture_side: int = 0
) -> Features:
    """Build the features of parsed cells, see `parse_cell`.

    A cell with several images gets the mean of their vectors.

    Parameters
    ----------
    schema
        The columns.
    cells
        Values of each feature column, one per row.
    rows
        Number of rows, which a table without columns does not have.
    encoders
        Encoders of the modalities that the schema has.
    picture_side
        Least side of the pictures in pixels. With 0 rows do not get pictures.
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


def _encoded_images(cells: Sequence[DecodedImages], encode: Encoder) -> VectorColumn:
    counts = np.array([len(images) for images in cells], dtype=np.int64)
    present = counts > 0
    encoded = encode([image for images in cells for image in images])
    sums = np.zeros((int(present.sum()), encoded.shape[1]), dtype=np.float32)
    np.add.at(sums, np.repeat(np.arange(len(sums)), counts[present]), encoded)
    means = sums / counts[present][:, None]
    # float16 halves the memory of training. Serving rounds as well, so both see the same numbers.
    return VectorColumn(means.astype(np.float16), np.where(present, np.cumsum(present) - 1, -1))


def _encoded_texts(cells: Sequence[str], encode: Encoder) -> VectorColumn:
    texts = [text for text in dict.fromkeys(cells) if text]
    numbers = {text: number for number, text in enumerate(texts)}
    index = np.array([numbers.get(text, -1) for text in cells], dtype=np.int64)
    return VectorColumn(encode(texts).astype(np.float16), index)
