"""Image cells, which hold one or several images. Images are decoded for a network, or made smaller."""

from __future__ import annotations

import binascii
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pybase64
from PIL import Image, ImageOps

SIDE = 224
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
_SHORT_SIDE = 256
_MAX_PIXELS = 100_000_000
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
_LONGEST_NAME = 1024
_FILE_NAME = re.compile(rf"[^;]{{1,255}}(?:{'|'.join(map(re.escape, IMAGE_SUFFIXES))})", re.IGNORECASE)
_DATA_PREFIX = re.compile(r"data:[^,;]*(?:;[^,;]*)*,")

# `_opened` checks a limit of our own before any pixel is decoded, and raises an error instead of a warning.
Image.MAX_IMAGE_PIXELS = None


class ImageFiles:
    """The files of the ``images`` channel, which cells may name in place of base64.

    Parameters
    ----------
    directory
        Directory of the channel.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()

    def read(self, name: str) -> bytes | None:
        """Return the bytes of the file at the path `name` below the channel. None where there is no file."""
        if len(name) > _LONGEST_NAME:
            return None
        try:
            path = (self._directory / name).resolve()
            return path.read_bytes() if path.is_relative_to(self._directory) and path.is_file() else None
        except (OSError, ValueError):  # base64, which the file system refuses as a name
            return None


def decode_images(cell: str | bytes, files: ImageFiles | None = None) -> tuple[np.ndarray, ...]:
    """Decode the images of one cell.

    Parameters
    ----------
    cell, files
        See `encoded_images`.

    Returns
    -------
    tuple of numpy.ndarray
        One array per image, RGB, uint8 (224, 224, 3). Empty for an empty cell.

    Raises
    ------
    ValueError
        An image is not base64, has an unknown format, is truncated or has too many pixels. The message is the reason.
    """
    return tuple(_pixels(data) for data in encoded_images(cell, files))


def encoded_images(cell: str | bytes, files: ImageFiles | None = None) -> Iterator[bytes]:
    """Yield the encoded images of one cell.

    Parameters
    ----------
    cell
        Base64 of encoded images, or names of `files`, joined with ``;``. A prefix ``data:…,`` is passed over. Bytes are
        one encoded image.
    files
        Files that the cell may name.

    Raises
    ------
    ValueError
        An image is neither base64 nor the name of a file. The message is the reason.
    """
    if isinstance(cell, bytes):
        if cell:
            yield cell
        return
    if "data:" in cell:
        cell = _DATA_PREFIX.sub("", cell)
    parts = [part.strip() for part in cell.split(";")]
    yield from (_encoded(part, files) for part in parts if part)


def names_a_file(cell: str) -> bool:
    """Whether a cell looks like the name of an image file. Base64 never does, since it has no dots."""
    return "." in cell and any(_FILE_NAME.fullmatch(part.strip()) for part in cell.split(";"))


def shrink_image(data: bytes, side: int, quality: int) -> bytes:
    """Return an encoded image as a JPEG that is not larger than needed.

    A JPEG that is small enough is returned as it is. Any other image is made upright and RGB, as in `decode_images`,
    and made smaller if it is too large.

    Parameters
    ----------
    data
        The encoded image.
    side
        Largest number of pixels of the short side.
    quality
        JPEG quality, 1 to 100.

    Raises
    ------
    ValueError
        `decode_images` would refuse the image. The message is the reason.
    """
    with _as_value_error():
        image = _opened(data)
        if image.format == "JPEG" and min(image.size) <= side:
            image.draft("RGB", (1, 1))
            image.load()  # raises now for a truncated image, and not later in training
            return data
        image.draft("RGB", (side, side))
        picture = _upright(image)
        width, height = picture.size
        if (scale := side / min(width, height)) < 1:
            size = (round(width * scale), round(height * scale))
            picture = picture.resize(size, Image.Resampling.BILINEAR)
        stream = io.BytesIO()
        # Without the argument, Pillow copies the comment of the original.
        picture.save(stream, "JPEG", quality=quality, comment=b"")
        return stream.getvalue()


def _encoded(part: str, files: ImageFiles | None) -> bytes:
    data = files.read(part) if files is not None else None
    if data is not None:
        return data
    try:
        return pybase64.b64decode(part, validate=True)
    except (binascii.Error, ValueError):
        if _FILE_NAME.fullmatch(part):
            where = "the images channel" if files is not None else "this job, which has no images channel"
            raise ValueError(f"there is no file '{part[:80]}' in {where}") from None
        raise ValueError(_why_not_base64(part)) from None


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Turn any exception of the block, which decodes an image, into a `ValueError`."""
    try:
        yield
    except ValueError:
        raise
    except Exception as error:  # for hostile bytes, Pillow's decoders raise exceptions of any kind
        reason = str(error).split("\n")[0][:80] or type(error).__name__
        raise ValueError(f"the image cannot be decoded ({reason})") from None


def _pixels(data: bytes) -> np.ndarray:
    with _as_value_error():
        image = _opened(data)
        # Decoding a JPEG at a reduced scale is many times faster for photos. The crop still has enough pixels.
        image.draft("RGB", (SIDE, SIDE))
        return np.asarray(_cropped(_upright(image)), dtype=np.uint8)


def _opened(data: bytes) -> Image.Image:
    """Read the header of an image, and check its format and size."""
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except OSError:
        raise ValueError(f"not a JPEG, PNG, WebP, GIF or BMP image ({len(data)} bytes)") from None
    width, height = image.size
    if width * height > _MAX_PIXELS:
        raise ValueError(f"the image has {width} x {height} pixels (at most {_MAX_PIXELS // 10**6} million are read)")
    return image


def _upright(image: Image.Image) -> Image.Image:
    """Return the image in RGB, turned as its EXIF orientation says."""
    image.load()
    return _rgb(ImageOps.exif_transpose(image))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow clips 16-bit grey at 255 and does not scale it.
        image = Image.fromarray((np.asarray(image) // 257).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba)
    return image.convert("RGB")


def _cropped(image: Image.Image) -> Image.Image:
    # ImageNet networks, and the guide, evaluate images so: short side 256, then the centre of 224.
    width, height = image.size
    scale = _SHORT_SIDE / min(width, height)
    crop = SIDE / scale
    left, top = (width - crop) / 2, (height - crop) / 2
    return image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=(left, top, left + crop, top + crop))


def _why_not_base64(encoded: str) -> str:
    if foreign := re.search(r"[^A-Za-z0-9+/=\s]", encoded):
        return f"not base64 (character {foreign.group()!r} at position {foreign.start() + 1})"
    if len(encoded) % 4:
        return f"not base64 (length {len(encoded)} is not a multiple of 4)"
    return "not base64 (padding in the wrong place)"
