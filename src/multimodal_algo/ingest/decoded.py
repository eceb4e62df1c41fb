"""The decoded images of a cell, with what is made of them once."""

from __future__ import annotations

import hashlib
import io
from functools import cached_property

import numpy as np
from PIL import Image

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

    def picture(self, side: int) -> bytes:
        """Return the first image as a JPEG, reduced by a whole factor to `side` pixels or a little more.

        A smaller image is not enlarged. The last result is kept.
        """
        if self._picture[0] != side:
            picture = Image.fromarray(self[0]).reduce(max(self[0].shape[0] // side, 1))
            stream = io.BytesIO()
            picture.save(stream, "JPEG", quality=_QUALITY)
            self._picture = side, stream.getvalue()
        return self._picture[1]

    @cached_property
    def _picture(self) -> tuple[int, bytes]:
        return 0, b""
