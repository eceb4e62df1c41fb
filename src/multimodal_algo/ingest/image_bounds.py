"""Limits the memory and the time of decoding an image, whatever its bytes claim."""

from __future__ import annotations

import struct
import time
from functools import cache

from PIL import Image

from multimodal_algo.core.memory import MemoryGate, available_bytes

MOST_PIXELS = 100_000_000
"""Most pixels of an image."""
MOST_IMAGES = 100
"""Most images of a cell."""
_MOST_CPU_S = 20.0
_MOST_METADATA_BYTES = 64 << 20
_MOST_EXIF_BYTES = 128 << 10
# A scan of a progressive JPEG may have a few bytes, and all pixels are visited for each.
_MOST_SCANNED_PIXELS = 4_000_000_000
# Bytes for each pixel while an image is decoded and made RGB, at most. The test of this module measures them.
_BYTES_PER_PIXEL = {"JPEG": 10, "PNG": 11, "GIF": 11, "BMP": 11, "TIFF": 16}
_BYTES_OF_OTHERS, _BYTES_OF_NUMBERS = 24, 24
# The smallest scale of a baseline JPEG is an eighth of each side.
_LEAST_SCALE = 1 / 64
# Share of the memory that was free at first which all images that are decoded at the same time may take.
_SHARE = 3
_TIFF_HEADERS = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
_MOST_HEADERS = 16
_UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@cache
def decoding_gate() -> MemoryGate:
    """Return the memory that all threads share for decoding images in this process."""
    return MemoryGate(available_bytes() // _SHARE)


class CellClock:
    """Measures the processor time that this thread spends on the images of one cell."""

    def __init__(self) -> None:
        self._began = time.thread_time()
        self._images = 0

    def count(self) -> None:
        """Count one more image, before it is decoded.

        Raises
        ------
        ValueError
            The cell has too many images, or they take too long.
        """
        self._images += 1
        if self._images > MOST_IMAGES:
            raise ValueError(f"more than {MOST_IMAGES} images are in the cell")
        if time.thread_time() - self._began > _MOST_CPU_S:
            raise ValueError(f"the images of the cell take more than {_MOST_CPU_S:.0f} s to decode")


def decoding_bytes(image: Image.Image, side: int) -> int:
    """Return how many bytes of memory it takes at most to decode an image to RGB.

    Parameters
    ----------
    image
        Image of which only the header was read.
    side
        Needed length of the short side in pixels. A large JPEG is decoded at a smaller scale.
    """
    width, height = image.size
    size = width * height * _BYTES_PER_PIXEL.get(image.format or "", _BYTES_OF_OTHERS)
    if image.mode in ("I", "F"):
        size = width * height * _BYTES_OF_NUMBERS
    if image.format == "JPEG" and "progressive" not in image.info:
        size = round(size * min(max(4 * (side / min(width, height)) ** 2, _LEAST_SCALE), 1))
    return size


def require_few_scans(image: Image.Image, data: bytes) -> None:
    """Raise an error if a JPEG has so many scans (passes over its pixels) that decoding would take too long.

    Raises
    ------
    ValueError
        The JPEG has too many scans.
    """
    scans = data.count(b"\xff\xda")
    if scans * image.width * image.height > _MOST_SCANNED_PIXELS:
        raise ValueError(f"the JPEG has {scans} scans of {image.width} x {image.height} pixels, which is too many")


def require_small_metadata(data: bytes) -> None:
    """Raise an error if the metadata of an image would take much more memory than the image has bytes.

    All entries of a TIFF directory, which EXIF also has, may refer to the same bytes. Pillow copies the bytes for each.

    Raises
    ------
    ValueError
        The metadata are too large.
    """
    if data.startswith(b"\xff\xd8") and _exif_bytes(data) > _MOST_EXIF_BYTES:
        raise ValueError("its EXIF metadata are too large")
    for header, order in _TIFF_HEADERS.items():
        at = data.find(header)
        for _ in range(_MOST_HEADERS):
            if at < 0:
                break
            if _directory_bytes(data, at, order) > _MOST_METADATA_BYTES + len(data):
                raise ValueError("its metadata are too large")
            at = data.find(header, at + 1)


def _exif_bytes(data: bytes) -> int:
    """Return the total size of a JPEG's EXIF segments, because Pillow joins them in memory."""
    at = size = 0
    while (at := data.find(b"\xff\xe1", at)) >= 0:
        if data[at + 4 : at + 8] == b"Exif":
            size += int.from_bytes(data[at + 2 : at + 4], "big")
        at += 2
    return size


def _directory_bytes(data: bytes, at: int, order: str) -> int:
    """Return the total size of the values in the first directory of the TIFF structure at `at`."""
    is_big = data[at + 2 : at + 4].strip(b"\0") == b"+"
    try:
        (first,) = struct.unpack_from(order + ("Q" if is_big else "I"), data, at + (8 if is_big else 4))
        (count,) = struct.unpack_from(order + ("Q" if is_big else "H"), data, at + first)
    except struct.error:
        return 0
    begin, entry = at + first + (8 if is_big else 2), struct.Struct(order + ("HHQ8x" if is_big else "HHI4x"))
    end = min(begin + count * entry.size, len(data) - (len(data) - begin) % entry.size)
    sizes = (number * _UNITS.get(kind, 0) for _, kind, number in entry.iter_unpack(data[begin:end]))
    return sum(min(size, len(data)) for size in sizes)
