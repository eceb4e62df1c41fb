"""Images as small JPEGs: for the report, and for networks that are fine-tuned on them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

_QUALITY = 90


@dataclass(frozen=True)
class PictureColumn:
    """The first image of each cell of one column.

    Parameters
    ----------
    data
        JPEGs behind each other, uint8 (bytes,); may be a memory map.
    spans
        Of each row first byte and end, int64 (rows, 2); equal where there is none.
    """

    data: np.ndarray
    spans: np.ndarray

    def take(self, rows: np.ndarray) -> PictureColumn:
        """The rows at the positions `rows`; no picture is copied."""
        return PictureColumn(self.data, self.spans[rows])

    def of_first(self, rows: int) -> PictureColumn:
        """The same column, of which none but the first `rows` keep their picture; `data` has the order of the rows."""
        spans = self.spans.copy()
        spans[rows:] = 0
        return PictureColumn(self.data[: spans.max(initial=0)], spans)

    def jpeg(self, row: int) -> bytes | None:
        """The picture of a row; None where there is none."""
        start, end = self.spans[row]
        return self.data[start:end].tobytes() if end > start else None


def encode_pictures(cells: Sequence[tuple[np.ndarray, ...]], side: int) -> PictureColumn:
    """JPEGs of the first images of cells.

    Parameters
    ----------
    cells
        Images of each row, uint8 (224, 224, 3), RGB.
    side
        Width and height of the pictures in pixels, of which that of images is a multiple; 0 keeps none.
    """
    data, spans, end = [], np.zeros((len(cells), 2), dtype=np.int64), 0
    for row, images in enumerate(cells if side else []):
        if images:
            picture = Image.fromarray(images[0]).reduce(images[0].shape[0] // side)
            stream = io.BytesIO()
            picture.save(stream, "JPEG", quality=_QUALITY)
            data.append(stream.getvalue())
            spans[row] = end, end + len(data[-1])
            end = int(spans[row, 1])
    return PictureColumn(np.frombuffer(b"".join(data), dtype=np.uint8), spans)
