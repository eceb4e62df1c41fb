"""Pictures: images as small JPEGs, for the report and for networks that are fine-tuned on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multimodal_algo.ingest.decoded import DecodedImages


@dataclass(frozen=True)
class PictureColumn:
    """The first image of each cell of one column.

    Parameters
    ----------
    data
        JPEGs, one after the other, uint8 (bytes,). It may be a memory map.
    spans
        First byte and end of each row's JPEG in `data`, int64 (rows, 2). They are equal for a row without a picture.
    """

    data: np.ndarray
    spans: np.ndarray

    def take(self, rows: np.ndarray) -> PictureColumn:
        """Return the rows at the positions `rows`, int (n,). Pictures are not copied."""
        return PictureColumn(self.data, self.spans[rows])

    @classmethod
    def joined(cls, parts: Sequence[PictureColumn]) -> PictureColumn:
        """Return the rows of all parts in one column."""
        starts = np.cumsum([0, *(len(part.data) for part in parts)])
        spans = [part.spans + start for part, start in zip(parts, starts, strict=False)]
        return cls(np.concatenate([part.data for part in parts]), np.concatenate(spans))

    def only_first(self, rows: int) -> PictureColumn:
        """Return the column without the pictures of all rows after the first `rows`. `data` is in the order of rows."""
        spans = self.spans.copy()
        spans[rows:] = 0
        return PictureColumn(self.data[: spans.max(initial=0)], spans)

    def jpeg(self, row: int) -> bytes | None:
        """Return the picture of a row. None for a row without a picture."""
        start, end = self.spans[row]
        return self.data[start:end].tobytes() if end > start else None


def encode_pictures(cells: Sequence[DecodedImages], side: int) -> PictureColumn:
    """Encode the first image of each cell as a JPEG.

    Parameters
    ----------
    cells
        Images of each row.
    side
        Least width and height of the pictures in pixels, up to which an image is reduced by a whole factor. A smaller
        image is not enlarged. With 0 no row gets a picture.
    """
    data, spans, end = [], np.zeros((len(cells), 2), dtype=np.int64), 0
    for row, images in enumerate(cells if side else []):
        if images:
            data.append(images.picture(side))
            spans[row] = end, end + len(data[-1])
            end = int(spans[row, 1])
    return PictureColumn(np.frombuffer(b"".join(data), dtype=np.uint8), spans)
