"""Small pictures of the first rows, for the report: nothing else of an image is kept but its vector."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

_SIDE = 96
_MOST_ROWS = 20_000


class Thumbnails:
    """JPEGs of 96 pixels in one file, of the first 20,000 rows: at most about 60 MB, half a millisecond each.

    Parameters
    ----------
    path
        The file; made when the first picture is added.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._spans: list[tuple[int, int]] = []

    def append(self, rows: Sequence[tuple[np.ndarray, ...]]) -> None:
        """Add the first image of each row; uint8 (side, side, 3), RGB."""
        with self._path.open("ab") as stream:
            for images in rows[: max(0, _MOST_ROWS - len(self._spans))]:
                start = stream.tell()
                if images:
                    small = Image.fromarray(images[0]).resize((_SIDE, _SIDE), reducing_gap=1.0)
                    encoded = io.BytesIO()
                    small.save(encoded, "JPEG", quality=70)
                    stream.write(encoded.getvalue())
                self._spans.append((start, stream.tell()))

    def of(self, row: int) -> bytes | None:
        """The JPEG of a row; None where it has no image, or is not one of the first."""
        if row >= len(self._spans) or self._spans[row][0] == self._spans[row][1]:
            return None
        start, end = self._spans[row]
        with self._path.open("rb") as stream:
            stream.seek(start)
            return stream.read(end - start)
