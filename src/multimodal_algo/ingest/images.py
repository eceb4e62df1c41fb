"""Image cells: base64 of one or several encoded images, decoded to what a backbone takes, or made smaller."""

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

# Our own limit, checked on the header before any pixel is decoded, gives a sentence instead of a warning.
Image.MAX_IMAGE_PIXELS = None


class ImageFiles:
    """The files of the ``images`` channel, which cells may name instead of holding base64.

    Parameters
    ----------
    directory
        The channel's directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()

    def read(self, name: str) -> bytes | None:
        """The bytes of the file `name` (its path below the channel); None where there is none."""
        if len(name) > _LONGEST_NAME:
            return None
        try:
            path = (self._directory / name).resolve()
            return path.read_bytes() if path.is_relative_to(self._directory) and path.is_file() else None
        except (OSError, ValueError):  # base64 that no file system takes as a name
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
        One uint8 array (224, 224, 3), RGB, per image; none for an empty cell.

    Raises
    ------
    ValueError
        Not base64, not an image of a known format, truncated, or of too many pixels; the message says which.
    """
    return tuple(_pixels(data) for data in encoded_images(cell, files))


def encoded_images(cell: str | bytes, files: ImageFiles | None = None) -> Iterator[bytes]:
    """The images of one cell, as they are encoded.

    Parameters
    ----------
    cell
        Base64 of encoded images, or names of `files`; several are joined with ``;``, a ``data:`` prefix is tolerated.
        Bytes are one encoded image.
    files
        The files that a cell may name.

    Raises
    ------
    ValueError
        Neither base64 nor the name of a file; the message says why.
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
    """Whether a cell holds what looks like the name of an image's file; base64 never does."""
    return "." in cell and any(_FILE_NAME.fullmatch(part.strip()) for part in cell.split(";"))


def shrink_image(data: bytes, side: int, quality: int) -> bytes:
    """An encoded image as a small JPEG.

    Parameters
    ----------
    data
        The encoded image.
    side
        Most pixels of the short side. A JPEG that is so small already is returned as it is; anything else is made
        upright and RGB, as `decode_images` does it, and never enlarged.
    quality
        Of the JPEG, 1 to 100.

    Raises
    ------
    ValueError
        What `decode_images` refuses; the message says why.
    """
    with _told():
        image = _opened(data)
        if image.format == "JPEG" and min(image.size) <= side:
            image.draft("RGB", (1, 1))
            image.load()  # a truncated one is told here, not in training
            return data
        image.draft("RGB", (side, side))
        picture = _upright(image)
        width, height = picture.size
        if (scale := side / min(width, height)) < 1:
            size = (round(width * scale), round(height * scale))
            picture = picture.resize(size, Image.Resampling.BILINEAR)
        stream = io.BytesIO()
        # Pillow would copy the comment of the original.
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
def _told() -> Iterator[None]:
    """Turns whatever goes wrong with an image into a `ValueError`."""
    try:
        yield
    except ValueError:
        raise
    except Exception as error:  # Pillow's decoders raise what they like on hostile bytes
        reason = str(error).split("\n")[0][:80] or type(error).__name__
        raise ValueError(f"the image cannot be decoded ({reason})") from None


def _pixels(data: bytes) -> np.ndarray:
    with _told():
        image = _opened(data)
        # JPEG can be decoded at a reduced scale, which is many times faster for photos; what the crop keeps of the
        # short side has more pixels still.
        image.draft("RGB", (SIDE, SIDE))
        return np.asarray(_cropped(_upright(image)), dtype=np.uint8)


def _opened(data: bytes) -> Image.Image:
    """The image, of which nothing but the header was read."""
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except OSError:
        raise ValueError(f"not a JPEG, PNG, WebP, GIF or BMP image ({len(data)} bytes)") from None
    width, height = image.size
    if width * height > _MAX_PIXELS:
        raise ValueError(f"the image has {width} x {height} pixels (at most {_MAX_PIXELS // 10**6} million are read)")
    return image


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    return _rgb(ImageOps.exif_transpose(image))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow clips it at 255 instead of scaling it.
        image = Image.fromarray((np.asarray(image) // 257).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba)
    return image.convert("RGB")


def _cropped(image: Image.Image) -> Image.Image:
    # The evaluation transform of the ImageNet backbones, and of the guide: short side 256, centre 224.
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
