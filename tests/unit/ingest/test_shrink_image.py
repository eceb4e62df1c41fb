from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from multimodal_algo.ingest.images import decode_images, shrink_image

COLOUR = (200, 30, 40)
PHOTO = Image.new("RGB", (600, 400), COLOUR)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def shrunk(data: bytes, side: int = 100) -> Image.Image:
    image = Image.open(io.BytesIO(shrink_image(data, side, 90)))
    image.load()
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return image


@pytest.mark.parametrize(
    ("image", "kind", "colour"),
    [
        (PHOTO, "JPEG", COLOUR),
        (PHOTO, "WEBP", COLOUR),
        (PHOTO, "GIF", COLOUR),
        (PHOTO, "BMP", COLOUR),
        (PHOTO.convert("CMYK"), "JPEG", COLOUR),
        (PHOTO.convert("P", palette=Image.Palette.ADAPTIVE), "PNG", COLOUR),
        (PHOTO.convert("L"), "JPEG", None),
        (Image.new("1", (600, 400), 1), "PNG", (255, 255, 255)),
        (Image.new("RGBA", (600, 400), (0, 0, 0, 0)), "PNG", (255, 255, 255)),
        (Image.new("LA", (600, 400), (0, 0)), "PNG", (255, 255, 255)),
        (Image.fromarray(np.full((400, 600), 77 * 257, dtype=np.uint16)), "PNG", (77, 77, 77)),
    ],
    ids=["JPEG", "WebP", "GIF", "BMP", "CMYK", "palette", "grey", "bilevel", "RGBA", "grey-alpha", "16-bit"],
)
def test_any_format_and_colour_mode_becomes_a_small_jpeg(
    image: Image.Image, kind: str, colour: tuple[int, int, int] | None
) -> None:
    small = shrunk(encoded(image, kind))
    assert small.size == (150, 100)
    if colour is not None:
        assert np.abs(np.asarray(small).reshape(-1, 3).mean(axis=0) - colour).max() < 6


@pytest.mark.parametrize("side", [100, 1000])
def test_exif_rotation_is_applied_once(side: int) -> None:
    image = Image.new("RGB", (600, 400))
    image.paste((255, 255, 255), (0, 0, 600, 200))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise to view
    data = shrink_image(encoded(image, "PNG", exif=exif), side, 90)
    small = Image.open(io.BytesIO(data))
    assert small.size == ((100, 150) if side == 100 else (400, 600))
    pixels = np.asarray(small)
    assert pixels[:, -40:].mean() > 240
    assert pixels[:, :40].mean() < 15
    # What is small enough keeps its mark, and is turned by who reads it.
    original = encoded(image, exif=exif)
    (decoded,) = decode_images(shrink_image(original, 1000, 90))
    assert np.array_equal(decoded, decode_images(original)[0])


def test_a_small_jpeg_is_passed_on_byte_for_byte_and_nothing_is_enlarged() -> None:
    data = encoded(PHOTO.resize((100, 300)), quality=35, comment=b"kept")
    assert shrink_image(data, 100, 90) is data
    assert shrunk(encoded(PHOTO.resize((20, 10)), "PNG")).size == (20, 10)
    assert shrunk(encoded(PHOTO.resize((99, 30_000)), "PNG")).size == (99, 30_000)


def test_what_an_original_says_beside_its_pixels_is_dropped() -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    small = shrink_image(encoded(PHOTO, comment=b"where I live", exif=exif), 100, 90)
    assert b"where I live" not in small


def test_a_photo_reads_as_its_original_does() -> None:
    generator = np.random.default_rng(0)
    shapes = Image.fromarray(generator.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    original = encoded(shapes.resize((1800, 1400), Image.Resampling.BICUBIC), quality=95)
    (expected,), (shrunk,) = decode_images(original), decode_images(shrink_image(original, 256, 90))
    assert np.abs(expected.astype(int) - shrunk).mean() < 1.5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF image (0 bytes)"),
        (encoded(PHOTO)[:-900], "the image cannot be decoded"),
        (encoded(PHOTO.resize((60, 40)))[:-20], "the image cannot be decoded"),
        (encoded(PHOTO.resize((50, 70_000)), "PNG"), "the image cannot be decoded"),
    ],
    ids=["empty", "truncated", "small and truncated", "too long for JPEG"],
)
def test_an_image_that_cannot_be_shrunk_has_a_reason(data: bytes, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        shrink_image(data, 100, 90)
    assert message in str(error.value)
