"""Features: rows as the branches take them, made by the same code for training and serving."""

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
    cells
        All columns but images: texts and categories as str objects, with ``""`` for a missing cell, and numbers as
        float64, with NaN for a missing cell. Each is (rows,).
    rows
        Number of rows.
    vectors
        Vectors of the text and image columns.
    pictures
        Pictures of the image columns, where rows have them.
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
        """Return the features whose cells are the columns of `table`."""
        cells = {str(column): table[column].to_numpy() for column in table.columns}
        return cls(cells, len(table), vectors, pictures or {})

    @property
    def table(self) -> pd.DataFrame:
        """A new table of `cells`."""
        import pandas as pd  # its import takes a third of a second, and serving does without it

        return pd.DataFrame({c: pd.Series(cells) for c, cells in self.cells.items()}, index=pd.RangeIndex(self.rows))

    def filled(self, column: str) -> np.ndarray:
        """Return whether each row has a value in `column`, bool (rows,). The result is cached."""
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
        """Return the rows at the positions `rows`, int (n,)."""
        return Features(
            {column: cells[rows] for column, cells in self.cells.items()},
            len(rows),
            {column: vectors.take(rows) for column, vectors in self.vectors.items()},
            {column: pictures.take(rows) for column, pictures in self.pictures.items()},
        )

    @classmethod
    def joined(cls, parts: Sequence[Features]) -> Features:
        """Return the rows of all parts, which have the same columns."""
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
