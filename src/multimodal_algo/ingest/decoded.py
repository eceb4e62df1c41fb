"""The decoded images of a cell, with a hash and small pictures of them that are computed only once."""

from __future__ import annotations

import hashlib
import io
from functools import cached_property

import numpy as np

_QUALITY = 90


class DecodedImages(tuple[np.ndarray, ...]):
    """The decoded images of one cell, RGB, each uint8 (side, side, 3). An empty cell has no image.

    The thread that decodes the images may also compute hash and pictures, so that the main thread need not.
    """

    @cached_property
    def key(self) -> int:
        """Return a short hash of the pixels, 32 bits. It is 0 for an empty cell."""
        digest = hashlib.blake2b(digest_size=4)
        for image in self:
            digest.update(np.ascontiguousarray(image).data)
        return int.from_bytes(digest.digest(), "little") if self else 0

    def pictures(self, side: int) -> bytes:
        """Return the images as JPEGs, one after the other, each reduced to about `side` pixels.

        An image is reduced by a whole factor, so it may stay a little larger. Smaller images are not enlarged. The last
        result is cached.
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
