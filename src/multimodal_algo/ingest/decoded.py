"""The decoded images of a cell, with what is made of them once."""

from __future__ import annotations

import hashlib
import io
from functools import cached_property

import numpy as np

_QUALITY = 90


class DecodedImages(tuple[np.ndarray, ...]):
    """The images of one cell, RGB, each uint8 (side, side, 3). Empty for an empty cell.

    The thread that decodes images may already make the hash and the picture, so that the main thread need not.
    """

    @cached_property
    def key(self) -> int:
        """A short hash of the pixels, 32 bits. It is 0 for an empty cell."""
        digest = hashlib.blake2b(digest_size=4)
        for image in self:
            digest.update(np.ascontiguousarray(image).data)
        return int.from_bytes(digest.digest(), "little") if self else 0

    def pictures(self, side: int) -> bytes:
        """Return the images as JPEGs, one after the other, reduced by a whole factor to `side` pixels or a little more.

        A smaller image is not enlarged. The last result is kept.
        """
        if self._pictures[0] != side:
            self._pictures = side, b"".join(_jpeg(image, side) for image in self)
        return self._pictures[1]

    @cached_property
    def _pictures(self) -> tuple[int, bytes]:
        return 0, b""


def _jpeg(image: np.ndarray, side: int) -> bytes:
    from PIL import Image  # a server without images does without it

    stream = io.BytesIO()
    Image.fromarray(image).reduce(max(image.shape[0] // side, 1)).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
