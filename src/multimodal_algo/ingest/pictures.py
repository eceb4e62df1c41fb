"""Pictures of image cells, stored as JPEGs for the report and for networks that are fine-tuned on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multimodal_algo.ingest.decoded import DecodedImages

# The markers around a JPEG. No picture has both of them inside: its pixels have no such bytes, and its headers are
# those that Pillow writes, without a thumbnail.
_BEGIN, _END = b"\xff\xd8", b"\xff\xd9"


@dataclass(frozen=True)
class PictureColumn:
    """An image column with its pictures as JPEGs.

    Parameters
    ----------
    data
        JPEGs, one after the other, uint8 (bytes,). It may be a memory map.
    spans
        First byte and end of each row's JPEGs in `data`, int64 (rows, 2). Both are equal for a row without a picture.
    """

    data: np.ndarray
    spans: np.ndarray

    def take(self, rows: np.ndarray) -> PictureColumn:
        """Return a column with the rows at the positions `rows`, int (n,). Pictures are not copied."""
        return PictureColumn(self.data, self.spans[rows])

    @classmethod
    def joined(cls, parts: Sequence[PictureColumn]) -> PictureColumn:
        """Return one column with the rows of all `parts`, one part after the other."""
        starts = np.cumsum([0, *(len(part.data) for part in parts)])
        spans = [part.spans + start for part, start in zip(parts, starts, strict=False)]
        return cls(np.concatenate([part.data for part in parts]), np.concatenate(spans))

    def only_first(self, rows: int) -> PictureColumn:
        """Return a column in which only the first `rows` rows have pictures. `data` must be in the order of rows."""
        spans = self.spans.copy()
        spans[rows:] = 0
        return PictureColumn(self.data[: spans.max(initial=0)], spans)

    def jpeg(self, row: int) -> bytes | None:
        """Return the first picture of a row. None if the row has no picture."""
        return next(iter(self.jpegs(row)), None)

    def jpegs(self, row: int) -> list[bytes]:
        """Return all pictures of a row, as JPEGs."""
        start, end = self.spans[row]
        parts = self.data[start:end].tobytes().split(_END + _BEGIN) if end > start else []
        return [
            (_BEGIN if number else b"") + part + (_END if number < len(parts) - 1 else b"")
            for number, part in enumerate(parts)
        ]


def encode_pictures(cells: Sequence[DecodedImages], side: int) -> PictureColumn:
    """Encode the images of each cell as JPEGs.

    Parameters
    ----------
    cells
        Images of each row.
    side
        Least width and height of a picture in pixels. An image is reduced by a whole factor down to this size. Smaller
        images are not enlarged. With 0, no row gets a picture.
    """
    data, spans, end = [], np.zeros((len(cells), 2), dtype=np.int64), 0
    for row, images in enumerate(cells if side else []):
        if images:
            data.append(images.pictures(side))
            spans[row] = end, end + len(data[-1])
            end = int(spans[row, 1])
    return PictureColumn(np.frombuffer(b"".join(data), dtype=np.uint8), spans)
