"""Decodes image cells, which hold one or several images, for a network, or makes the images smaller.

`ingest.image_text` turns the text of a cell into bytes. `ingest.image_formats` recognises formats.
"""

from __future__ import annotations

import io
import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
import simplejpeg
from PIL import Image, ImageFile

from multimodal_algo.core.errors import first_line
from multimodal_algo.core.memory import return_freed_memory
from multimodal_algo.ingest.decoded import DecodedImages
from multimodal_algo.ingest.image_bounds import (
    MOST_IMAGES,
    MOST_PIXELS,
    CellClock,
    decoding_bytes,
    decoding_gate,
    require_few_scans,
    require_small_metadata,
)
from multimodal_algo.ingest.image_files import ImageFiles
from multimodal_algo.ingest.image_formats import is_heic, is_known, not_an_image, without_metadata
from multimodal_algo.ingest.image_input import IMAGENET, ImageInput
from multimodal_algo.ingest.image_text import encoded_image, texts_of

T = TypeVar("T")

_FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# A JPEG is decoded at the smallest scale, in eighths, that has this share of the pixels needed. So few pixels more do
# not show in a network's answers, while the next larger scale may take twice the time.
_LEAST_SHARE = 0.95
# Cells of Excel end here.
_EXCEL_CHARACTERS = 32_767
_MOST_WARNINGS = 10
_BAND_PIXELS = 1_000_000
# An image takes so much that its memory is returned to the system at once.
_LARGE_BYTES = 256 << 20
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LOG = logging.getLogger(__name__)
_WARNINGS = itertools.count(1)

# `_opened` checks a limit of our own before any pixel is decoded, and raises an error instead of a warning.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class SeveralImages:
    """The images of a Parquet cell that has several. `len` gives their total size.

    Parameters
    ----------
    images
        Encoded images, or cells as in CSV.
    """

    images: tuple[bytes | str, ...]

    def __len__(self) -> int:
        return sum(map(len, self.images))


def images_in(cell: str | bytes | SeveralImages) -> int:
    """Return the largest number of images that a cell can hold, without decoding it."""
    if isinstance(cell, SeveralImages):
        return min(sum(map(images_in, cell.images)), MOST_IMAGES)
    if isinstance(cell, bytes):
        return 1
    return min(cell.count(";") + 1, MOST_IMAGES) if cell else 0


def decode_images(
    cell: str | bytes | SeveralImages, files: ImageFiles | None = None, wanted: ImageInput = IMAGENET
) -> DecodedImages:
    """Decode the images of one cell.

    Parameters
    ----------
    cell, files
        See `encoded_images`.
    wanted
        Size and form of the images that the network takes.

    Raises
    ------
    ValueError
        An image is not base64, has an unknown format, is truncated or has too many pixels. The message is the reason.
    """
    try:
        clock = CellClock()
        return DecodedImages(_pixels(data, wanted, clock) for data in encoded_images(cell, files))
    except ValueError as error:
        if isinstance(cell, str) and len(cell) == _EXCEL_CHARACTERS:
            raise ValueError(f"{error}; cells of Excel end at 32,767 characters, as this one does") from None
        raise


def encoded_images(cell: str | bytes | SeveralImages, files: ImageFiles | None = None) -> Iterator[bytes]:
    """Yield the images of one cell as bytes that are still encoded, as JPEG or PNG for example.

    Parameters
    ----------
    cell
        Base64 of encoded images, or names of `files`, joined with ``;``. A prefix ``data:…,`` is ignored. Bytes are one
        encoded image.
    files
        Files that the cell may name.

    Raises
    ------
    ValueError
        An image is neither base64 nor the name of a file. The message is the reason.
    """
    if isinstance(cell, SeveralImages):
        for image in cell.images:
            yield from encoded_images(image, files)
    elif isinstance(cell, bytes):
        if cell:
            yield cell
    elif files is not None and ";" in cell and (data := files.read(cell)) is not None:
        yield data
    else:
        yield from (encoded_image(text, files) for text in texts_of(cell))


def shrink_image(data: bytes, side: int, quality: int) -> bytes:
    """Return an encoded image as a JPEG whose short side has at most `side` pixels.

    A JPEG that is small enough is returned unchanged. Any other image is turned upright, converted to RGB, and made
    smaller if it is too large.

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
        return _despite_metadata(data, lambda data: _shrunk(data, side, quality))


def _shrunk(data: bytes, side: int, quality: int) -> bytes:
    image = _opened(data)
    if image.format == "JPEG" and min(image.size) <= side:
        image.draft("RGB", (1, 1))
        image.load()  # raises now for a truncated image, and not later in training
        return data
    with _memory_for(image, data, side):
        return _smaller(_upright(image, data, side), side, quality)


def _smaller(picture: Image.Image, side: int, quality: int) -> bytes:
    width, height = picture.size
    if (scale := side / min(width, height)) < 1:
        size = (round(width * scale), round(height * scale))
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    stream = io.BytesIO()
    # Without the argument, Pillow copies the comment of the original.
    picture.save(stream, "JPEG", quality=quality, comment=b"")
    return stream.getvalue()


class _NotAnImage(ValueError):
    """Raised for an image that is refused before it is decoded. The message is the reason."""


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Turn any exception that decoding an image raises inside the block into a `ValueError`."""
    try:
        yield
    except _NotAnImage:
        raise
    except Exception as error:  # for hostile bytes, Pillow's decoders raise exceptions of any kind
        raise ValueError(f"the image cannot be decoded ({first_line(error, 80)})") from None


def _pixels(data: bytes, wanted: ImageInput, clock: CellClock) -> np.ndarray:
    clock.count()
    with _as_value_error():
        return _despite_metadata(data, lambda data: _cut(data, wanted))


def _cut(data: bytes, wanted: ImageInput) -> np.ndarray:
    image = _opened(data)
    with _memory_for(image, data, wanted.resize):
        pixels = np.asarray(wanted.cut(_upright(image, data, wanted.resize)), dtype=np.uint8)
        image.close()
    return pixels


@contextmanager
def _memory_for(image: Image.Image, data: bytes, side: int) -> Iterator[None]:
    """Reserve the memory for decoding an image to about `side` pixels while the block runs. Wait until it is free.

    Raises
    ------
    _NotAnImage
        The image takes more memory than this process may use.
    """
    if image.format == "JPEG":
        require_few_scans(image, data)
    gate, size = decoding_gate(), decoding_bytes(image, side)
    if size > gate.total:
        width, height = image.size
        raise _NotAnImage(
            f"the image has {width} x {height} pixels, which take up to {size >> 20} MB to decode ({gate.total >> 20} "
            "MB are free for images)"
        )
    with gate.holding(size):
        yield
    if size > _LARGE_BYTES:
        return_freed_memory()


def _despite_metadata(data: bytes, read: Callable[[bytes], T]) -> T:
    """Return ``read(data)`` for the bytes of an image. If it fails, try again without the image's metadata."""
    try:
        return read(data)
    except Exception as error:
        for bare in without_metadata(data):
            if bare == data:
                continue
            try:
                image = read(bare)
            except Exception:
                continue
            _warn(error)
            return image
        raise


def _warn(error: Exception) -> None:
    """Log that the metadata of an image are broken. Only the first few such images of this process are logged."""
    if (number := next(_WARNINGS)) <= _MOST_WARNINGS:
        rest = ". Further ones are not logged" if number == _MOST_WARNINGS else ""
        _LOG.warning("images: the metadata of an image are broken and ignored (%s)%s", first_line(error, 80), rest)


def _opened(data: bytes) -> Image.Image:
    """Read the header of an image, and check its format and size."""
    require_small_metadata(data)
    # AutoMM sets this when it is imported. Then Pillow would make the missing pixels grey.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    formats = _FORMATS
    if is_heic(data):
        _register_heic()
        formats = ("HEIF",)
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except OSError:
        if is_known(data):
            raise _NotAnImage(f"the image cannot be decoded (its header is broken, {len(data)} bytes)") from None
        raise _NotAnImage(not_an_image(data)) from None
    width, height = image.size
    if image.format == "TIFF":  # a tile is decoded as a whole, and may be larger than its image
        width, height = max(width, _tag(image, 322)), max(height, _tag(image, 323))
    if width * height > MOST_PIXELS:
        raise _NotAnImage(f"the image has {width} x {height} pixels (at most {MOST_PIXELS // 10**6} million are read)")
    return image


def _tag(image: Image.Image, number: int) -> int:
    value = image.tag_v2.get(number, 0)  # type: ignore[attr-defined]
    return value if isinstance(value, int) else 0


@cache
def _register_heic() -> None:
    """Make Pillow read HEIC, with the package of the extra `heic`."""
    try:
        import pillow_heif
    except ImportError:
        raise _NotAnImage(
            "a HEIC image, and the package that reads it is not installed; convert it to JPEG, or install "
            "multimodal-algo[heic] and use `multimodal-algo prepare`"
        ) from None
    pillow_heif.register_heif_opener()


def _upright(image: Image.Image, data: bytes, side: int) -> Image.Image:
    """Return the pixels of an image in RGB, turned upright as its EXIF orientation says.

    Only its header was read before.

    A JPEG is decoded at a reduced scale of about `side` pixels, which is many times faster for photos.
    """
    decoded = _decoded_jpeg(image, data, round(_LEAST_SHARE * side))
    if decoded is None:
        image.draft("RGB", (side, side))
        image.load()
        decoded = image
    return _rgb(_turned(decoded, image))


def _decoded_jpeg(image: Image.Image, data: bytes, side: int) -> Image.Image | None:
    """Decode a JPEG with libjpeg-turbo, which is faster than Pillow. None if Pillow has to decode or to refuse it."""
    if image.format != "JPEG" or image.mode not in ("RGB", "L"):
        return None
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=side, min_width=side, min_factor=1)
    except ValueError:
        return None
    return Image.fromarray(pixels)


def _turned(decoded: Image.Image, image: Image.Image) -> Image.Image:
    # `ImageOps.exif_transpose` also writes all of the metadata anew, and fails if it cannot.
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception as error:  # for broken metadata, Pillow raises exceptions of any kind
        _warn(error)
        return decoded
    return decoded if turn is None else decoded.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        image = Image.fromarray(_scaled(np.asarray(image, dtype=np.float32)))
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    # In bands, since each step takes as much memory as what it converts.
    whole = Image.new("RGB", image.size)
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(_rgb_band(band), (0, top))
    return whole


def _rgb_band(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow clips 16-bit grey at 255 and does not scale it.
        image = Image.fromarray((np.asarray(image) // 257).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba)
    return image if image.mode == "RGB" else image.convert("RGB")


def _scaled(values: np.ndarray) -> np.ndarray:
    """Return grey values of any range scaled to uint8. Pillow would clip them at 255."""
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 65_535:
        values, white = values - low, (high - low) or 1.0
    else:
        white = next(white for white in (1.0, 255.0, 65_535.0) if high <= white)
    return (values * (255 / white)).clip(0, 255).astype(np.uint8)
