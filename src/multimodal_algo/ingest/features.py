"""Rows in the form in which models read them: columns of cells, vectors and pictures.

Training and serving share this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.core.schema import FeatureSchema, Modality, modality_of
from multimodal_algo.ingest.decoded import DecodedImages
from multimodal_algo.ingest.image_input import IMAGENET, ImageInput
from multimodal_algo.ingest.pictures import PictureColumn, encode_pictures

if TYPE_CHECKING:
    import pandas as pd

Encoder = Callable[[Sequence[Any]], np.ndarray]
"""A frozen network as a function: images, uint8 (side, side, 3), or texts become vectors, float32 (cells, width)."""

Encoders = Mapping[Modality, Encoder]
"""The encoders of texts and of images, where there are such columns."""


@dataclass(frozen=True)
class ImageEncoder:
    """A network that turns images into vectors, with the size of the images that it takes.

    Parameters
    ----------
    encode
        Function that computes the vectors of images.
    takes
        Size and form of the images that the network takes.
    """

    encode: Encoder
    takes: ImageInput

    def __call__(self, cells: Sequence[Any]) -> np.ndarray:
        """Return a vector for each image, float32 (images, width)."""
        return self.encode(cells)


def image_input(encoders: Encoders) -> ImageInput:
    """Return the size and form of the images that the image network takes."""
    encoder = encoders.get(Modality.IMAGE)
    return encoder.takes if isinstance(encoder, ImageEncoder) else IMAGENET


@dataclass(frozen=True)
class VectorColumn:
    """A text or image column whose cells became vectors. Empty cells take no space in `vectors`.

    Parameters
    ----------
    vectors
        Vectors, float16 (vectors, width). It may be a memory map.
    index
        Position in `vectors` of each row's vector, int64 (rows,). It is -1 for an empty cell.
    """

    vectors: np.ndarray
    index: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """Whether each row's cell is filled, so that it has a vector, bool (rows,)."""
        return self.index >= 0

    def take(self, rows: np.ndarray) -> VectorColumn:
        """Return a column with the rows at the positions `rows`, int (n,). Vectors are not copied."""
        return VectorColumn(self.vectors, self.index[rows])

    @classmethod
    def joined(cls, parts: Sequence[VectorColumn]) -> VectorColumn:
        """Return one column with the rows of all `parts`, one part after the other."""
        starts = np.cumsum([0, *(len(part.vectors) for part in parts)])
        index = [np.where(part.present, part.index + start, -1) for part, start in zip(parts, starts, strict=False)]
        return cls(np.concatenate([part.vectors for part in parts]), np.concatenate(index))


@dataclass(frozen=True)
class Features:
    """Rows in the form in which models read them, column by column.

    Parameters
    ----------
    cells
        All columns except images: texts and categories as str objects, with ``""`` for a missing cell, and numbers as
        float64, with NaN for a missing cell. Each is (rows,).
    rows
        Number of rows.
    vectors
        Vectors of the text and image columns.
    pictures
        Pictures of the image columns, if the rows have pictures.
    """

    cells: Mapping[str, np.ndarray]
    rows: int
    vectors: Mapping[str, VectorColumn]
    pictures: Mapping[str, PictureColumn] = field(default_factory=dict)
    _filled: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of_table(
        cls,
        table: pd.DataFrame,
        vectors: Mapping[str, VectorColumn],
        pictures: Mapping[str, PictureColumn] | None = None,
    ) -> Features:
        """Return features with the columns of a pandas table, which has texts, numbers and categories."""
        cells = {str(column): table[column].to_numpy() for column in table.columns}
        return cls(cells, len(table), vectors, pictures or {})

    @property
    def table(self) -> pd.DataFrame:
        """A new pandas table of the texts, numbers and categories."""
        import pandas as pd  # its import takes a third of a second, and serving does without it

        return pd.DataFrame({c: pd.Series(cells) for c, cells in self.cells.items()}, index=pd.RangeIndex(self.rows))

    def filled(self, column: str) -> np.ndarray:
        """Return for each row whether its cell in `column` is filled, bool (rows,). The result is cached."""
        if column not in self._filled:
            if column in self.vectors:
                self._filled[column] = self.vectors[column].present
            elif modality_of(column) is Modality.NUM:
                self._filled[column] = ~np.isnan(self.cells[column])
            else:
                self._filled[column] = np.asarray(self.cells[column] != "", dtype=bool)
        return self._filled[column]

    def __len__(self) -> int:
        return self.rows

    def take(self, rows: np.ndarray) -> Features:
        """Return features with the rows at the positions `rows`, int (n,)."""
        return Features(
            {column: cells[rows] for column, cells in self.cells.items()},
            len(rows),
            {column: vectors.take(rows) for column, vectors in self.vectors.items()},
            {column: pictures.take(rows) for column, pictures in self.pictures.items()},
        )

    def without(self, columns: Sequence[str]) -> Features:
        """Return features in which all cells of `columns` are empty."""
        empty = {
            column: np.full(self.rows, np.nan)
            if modality_of(column) is Modality.NUM
            else np.full(self.rows, "", object)
            for column in columns
            if column in self.cells
        }
        vectors = {
            column: VectorColumn(self.vectors[column].vectors, np.full(self.rows, -1))
            for column in columns
            if column in self.vectors
        }
        pictures = {column: self.pictures[column].only_first(0) for column in columns if column in self.pictures}
        return Features({**self.cells, **empty}, self.rows, {**self.vectors, **vectors}, {**self.pictures, **pictures})

    @classmethod
    def joined(cls, parts: Sequence[Features]) -> Features:
        """Return features with the rows of all `parts`, which have the same columns."""
        first = parts[0]
        return cls(
            {name: np.concatenate([part.cells[name] for part in parts]) for name in first.cells},
            sum(part.rows for part in parts),
            {name: VectorColumn.joined([part.vectors[name] for part in parts]) for name in first.vectors},
            {name: PictureColumn.joined([part.pictures[name] for part in parts]) for name in first.pictures},
        )


def build_features(
    schema: FeatureSchema, cells: Mapping[str, Sequence[Any]], rows: int, encoders: Encoders, picture_side: int = 0
) -> Features:
    """Make the features of rows from their parsed cells, see `parse_cell`. Networks turn texts and images into vectors.

    A cell with several images gets the mean of their vectors.

    Parameters
    ----------
    schema
        The columns.
    cells
        Values of each feature column, one per row.
    rows
        Number of rows. It is needed for a table without columns.
    encoders
        The networks for texts and images.
    picture_side
        Least side of the pictures in pixels. With 0, rows do not get pictures.
    """
    columns: dict[str, np.ndarray] = {}
    vectors: dict[str, VectorColumn] = {}
    pictures: dict[str, PictureColumn] = {}
    for column in schema.features:
        modality = modality_of(column)
        if modality is Modality.IMAGE:
            vectors[column] = _encoded_images(cells[column], encoders[modality])
            pictures[column] = encode_pictures(cells[column], picture_side)
            continue
        if modality is Modality.NUM:
            columns[column] = np.asarray(cells[column], dtype=np.float64)
            continue
        columns[column] = np.array(cells[column], dtype=object)
        if modality is Modality.TEXT:
            vectors[column] = _encoded_texts(cells[column], encoders[modality])
    return Features(columns, rows, vectors, pictures)


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
