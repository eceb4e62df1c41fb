"""Images of any format and colour mode, and with any metadata."""

from __future__ import annotations

import io
import itertools
import logging
import struct
import sys
import zlib
from types import ModuleType

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, TiffImagePlugin

from multimodal_algo.ingest import images
from multimodal_algo.ingest.images import decode_images, shrink_image

COLOUR = (200, 30, 40)
PLAIN = Image.new("RGB", (60, 40), COLOUR)
OTHER = Image.new("RGB", (60, 40))
# White above black.
HALVES = Image.new("RGB", (60, 40))
HALVES.paste((255, 255, 255), (0, 0, 60, 20))
BOMB = zlib.compress(bytes(80_000_000))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def exif(orientation: int) -> bytes:
    """Return EXIF data as JPEG has them, with the beginning ``Exif``."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def grey(values: np.ndarray | float, dtype: type = np.float32) -> Image.Image:
    return Image.fromarray(np.broadcast_to(np.asarray(values, dtype=dtype), (40, 60)).copy())


def lab(image: Image.Image) -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
    assert converted is not None
    return converted


SEVERAL = {"save_all": True, "append_images": [OTHER]}
WHITE = (255, 255, 255)
GREY = (77, 77, 77)


@pytest.mark.parametrize(
    ("data", "colour"),
    [
        (encoded(PLAIN, "TIFF"), COLOUR),
        (encoded(PLAIN, "TIFF", compression="tiff_lzw"), COLOUR),
        (encoded(PLAIN, "TIFF", compression="tiff_adobe_deflate"), COLOUR),
        (encoded(PLAIN, "TIFF", compression="jpeg", quality=95), COLOUR),
        (encoded(PLAIN, "TIFF", **SEVERAL), COLOUR),
        (encoded(Image.new("1", (60, 40), 1), "TIFF", compression="group4"), WHITE),
        (encoded(PLAIN.convert("P", palette=Image.Palette.ADAPTIVE), "TIFF"), COLOUR),
        (encoded(PLAIN.convert("CMYK"), "TIFF"), COLOUR),
        (encoded(Image.new("RGBA", (60, 40)), "TIFF"), WHITE),
        (encoded(Image.new("LA", (60, 40)), "TIFF"), WHITE),
        (encoded(lab(PLAIN), "TIFF"), COLOUR),
        (encoded(grey(77 * 257, np.uint16), "TIFF"), GREY),
        (encoded(Image.frombytes("I;16B", (60, 40), b"\x4d\x4d" * 2400), "TIFF"), GREY),
        (encoded(grey(77 * 257, np.int32), "TIFF"), GREY),
        (encoded(grey(77, np.int32), "TIFF"), GREY),
        (encoded(grey(77 / 255), "TIFF"), GREY),
        (encoded(grey(77), "TIFF"), GREY),
        (encoded(grey(77 * 257), "TIFF"), GREY),
        (encoded(grey(np.linspace(-1e6, 1e6, 60)), "TIFF"), (127, 127, 127)),
        (encoded(grey(-5), "TIFF"), (0, 0, 0)),
        (encoded(grey(np.where(np.arange(60) % 2, np.nan, np.inf)), "TIFF"), (0, 0, 0)),
        (encoded(PLAIN, "AVIF", quality=95), COLOUR),
        (encoded(PLAIN, "AVIF", quality=95, **SEVERAL), COLOUR),
        (encoded(Image.new("RGBA", (60, 40)), "AVIF"), WHITE),
        (encoded(PLAIN, "PNG", **SEVERAL), COLOUR),
        (encoded(PLAIN, "MPO", quality=95, **SEVERAL), COLOUR),
        (encoded(PLAIN, "GIF", **SEVERAL), COLOUR),
        (encoded(PLAIN, "WEBP", quality=95, **SEVERAL), COLOUR),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else str(value),
)
def test_the_first_image_of_any_format_and_mode_has_its_colour(data: bytes, colour: tuple[int, int, int]) -> None:
    (pixels,) = decode_images(data)
    assert np.abs(pixels.reshape(-1, 3).mean(axis=0) - colour).max() < 5


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg(*segments: bytes) -> bytes:
    data = encoded(HALVES, "JPEG")
    return data[:2] + b"".join(segments) + data[2:]


def entries(*values: tuple[int, int, int, int]) -> bytes:
    directory = b"".join(struct.pack("<HHII", *value) for value in values)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(values)) + directory + bytes(4)


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) if crc is None else crc)
    )


def png(before: bytes = b"", after: bytes = b"") -> bytes:
    """Return a PNG with chunks before and after its pixels."""
    data = encoded(HALVES, "PNG")
    pixels, end = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
    return data[:pixels] + before + data[pixels:end] + after + data[end:]


def tiff(compression: str | None, **changes: int) -> bytes:
    """Return a TIFF with a description and an EXIF directory, whose entries are changed: offset, count or kind."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[34665], tags[34665], tags[270] = 4, 8, "x" * 100
    data = bytearray(encoded(HALVES, "TIFF", compression=compression, tiffinfo=tags))
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number, value = struct.unpack_from("<HHII", data, entry)
        if tag in (270, 34665):
            struct.pack_into(
                "<HHII",
                data,
                entry,
                tag,
                changes.get("kind", kind),
                changes.get("count", number),
                changes.get("offset", value),
            )
    if "next_page" in changes:
        struct.pack_into("<I", data, at + 2 + 12 * count, changes["next_page"])
    return bytes(data)


JPEGS = {
    "EXIF cut": jpeg(segment(0xE1, exif(6)[:20])),
    "EXIF garbage": jpeg(segment(0xE1, b"Exif\0\0" + b"\xff" * 50)),
    "EXIF outside": jpeg(segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f")),
    "EXIF in a circle": jpeg(segment(0xE1, b"Exif\0\0" + entries((0x8769, 4, 1, 8)))),
    "orientation 9": jpeg(segment(0xE1, exif(9))),
    "orientation a text": jpeg(segment(0xE1, b"Exif\0\0" + entries((0x112, 2, 4, 0x636261)))),
    "ICC garbage": jpeg(segment(0xE2, b"ICC_PROFILE\0\x01\x05garbage")),
    "MPO garbage": jpeg(segment(0xE2, b"MPF\0" + entries((0xB001, 4, 1, 3), (0xB002, 7, 48, 9999)))),
    "XMP large": jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<x" * 30_000)),
    "XMP orientation": jpeg(segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="99999999999"')),
    "Photoshop cut": jpeg(segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\xff")),
    "JFIF cut": jpeg(segment(0xE0, b"JFIF\0")),
    "Adobe cut": jpeg(segment(0xEE, b"Adobe\0")),
    "comment": jpeg(segment(0xFE, b"\xff\xfe\0" * 20_000)),
    "trailing bytes": jpeg() + b"garbage" * 1000,
}
PNGS = {
    "text bomb": png(chunk(b"zTXt", b"k\0\0" + BOMB)),
    "text bomb after the pixels": png(after=chunk(b"iTXt", b"k\0\1\0\0\0" + BOMB)),
    "many texts": png(after=chunk(b"tEXt", b"k\0" + bytes(10**6)) * 70),
    "text not UTF-8": png(chunk(b"iTXt", b"k\0\0\0\xff\xfe\0\xff\0\xff")),
    "ICC bomb": png(chunk(b"iCCP", b"k\0\0" + BOMB)),
    "ICC garbage": png(chunk(b"iCCP", b"k\0\0garbage")),
    "ICC cut": png(chunk(b"iCCP", b"k")),
    "bad sum before": png(chunk(b"tEXt", b"k\0v", crc=5)),
    "bad sum after": png(after=chunk(b"tEXt", b"k\0v", crc=5)),
    "short chunks": png(chunk(b"gAMA", b"") + chunk(b"pHYs", b"1") + chunk(b"cHRM", b"1") + chunk(b"sRGB", b"")),
    "transparency cut": png(chunk(b"tRNS", b"\0")),
    "EXIF garbage": png(chunk(b"eXIf", b"garbage!")),
    "animation cut": png(chunk(b"acTL", b"\0\0")),
    "huge length after": png(after=b"\x7f\xff\xff\xfftEXtabc"),
    "no end": png()[:-12],
    "trailing bytes": png() + b"garbage" * 100,
}
OTHERS = {
    "WebP metadata": encoded(HALVES, "WEBP", lossless=True, exif=b"Exif\0\0garbage", icc_profile=b"x", xmp=b"<x"),
    "WebP trailing bytes": encoded(HALVES, "WEBP", lossless=True) + b"junk",
    "GIF trailing bytes": encoded(HALVES, "GIF", comment=b"x" * 10_000) + b"junk",
    "BMP trailing bytes": encoded(HALVES, "BMP") + b"junk",
    "AVIF trailing bytes": encoded(HALVES, "AVIF", icc_profile=b"bad") + b"junk",
}
TIFFS = {
    f"TIFF {compression}, {name}": tiff(compression, **changes)
    for compression in (None, "tiff_lzw")
    for name, changes in {
        "offset": {"offset": 0x7FFFFFFF},
        "count": {"count": 0x7FFFFFFF},
        "kind": {"kind": 77},
        "a text": {"kind": 2},
        "page outside": {"next_page": 0x7FFFFFF0},
        "page of text": {"next_page": 9},
    }.items()
}


@pytest.mark.parametrize(
    "data", [*JPEGS.values(), *PNGS.values(), *OTHERS.values(), *TIFFS.values()], ids=[*JPEGS, *PNGS, *OTHERS, *TIFFS]
)
def test_broken_metadata_never_cost_the_image(data: bytes) -> None:
    (pixels,) = decode_images(data)
    (small,) = decode_images(shrink_image(data, 30, 90))
    for picture in (pixels, small):
        assert picture[:100].mean() > 230
        assert picture[-100:].mean() < 25


@pytest.mark.parametrize(
    "data",
    [
        jpeg(segment(0xE1, exif(6)), segment(0xE2, b"ICC_PROFILE\0")),
        jpeg(segment(0xE1, exif(6)), segment(0xEE, b"Adobe\0")),
        png(chunk(b"eXIf", exif(6)[6:]) + chunk(b"zTXt", b"k\0\0" + BOMB)),
        encoded(HALVES, "WEBP", lossless=True, exif=exif(6), icc_profile=b"bad"),
        encoded(HALVES, "AVIF", exif=exif(6)),
        encoded(HALVES, "TIFF", exif=exif(6)),
        encoded(HALVES, "TIFF", exif=exif(6), compression="tiff_lzw"),
    ],
)
def test_the_rotation_survives_other_broken_metadata(data: bytes) -> None:
    (pixels,) = decode_images(data)
    assert pixels[:, -100:].mean() > 230
    assert pixels[:, :100].mean() < 25


def test_broken_exif_of_an_avif_is_ignored() -> None:
    tags = Image.Exif()
    tags[0x010E], tags[0x0112] = "a description", 6
    data = encoded(HALVES, "AVIF", exif=tags.tobytes(), xmp=b"<x>")
    at = data.index(b"MM\0*")
    (pixels,) = decode_images(data[:at] + b"\xff" * 8 + data[at + 8 :])
    assert pixels[:, -100:].mean() > 230  # the rotation is not in EXIF


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_that_of_pillow(orientation: int) -> None:
    corner = HALVES.copy()
    corner.paste((255, 0, 0), (0, 0, 20, 10))
    data = encoded(corner, "PNG", exif=exif(orientation))
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(decode_images(data)[0], decode_images(encoded(expected, "BMP"))[0])


def test_few_warnings_of_broken_metadata_are_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_WARNINGS", itertools.count(1))
    with caplog.at_level(logging.WARNING, logger="multimodal_algo"):
        for _ in range(30):
            decode_images(PNGS["bad sum before"])
    assert len(caplog.records) == 10
    assert "the metadata of an image are broken and ignored" in caplog.text
    assert "Further ones are not logged" in caplog.records[-1].message


@pytest.mark.parametrize(
    "data",
    [
        encoded(PLAIN.resize((300, 300)), "JPEG")[:-300],
        encoded(HALVES, "PNG")[:60],
        png(chunk(b"tEXt", b"k\0v", crc=5))[:100],
        encoded(HALVES, "WEBP", lossless=True)[:-10],
        encoded(HALVES, "TIFF")[:3000],
        encoded(HALVES, "AVIF")[:-20],
        encoded(HALVES, "BMP")[:3000],
        encoded(HALVES, "JPEG")[:40],
    ],
    ids=["JPEG", "PNG", "PNG with a bad sum", "WebP", "TIFF", "AVIF", "BMP", "header"],
)
def test_cut_pixels_are_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"the image cannot be decoded \(.+\)$"):
        decode_images(data)


def test_a_tile_larger_than_its_image_is_refused() -> None:
    data = encoded(PLAIN, "TIFF")
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    # The directory again at the end, with the width and the height of tiles.
    tiles = b"".join(struct.pack("<HHII", tag, 4, 1, 65_536) for tag in (322, 323))
    directory = struct.pack("<H", count + 2) + data[at + 2 : at + 2 + 12 * count] + tiles + bytes(4)
    with pytest.raises(ValueError, match="the image has 65536 x 65536 pixels"):
        decode_images(data[:4] + struct.pack("<I", len(data)) + data[8:] + directory)


HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf\0\0\0\x08meta"


def test_heic_without_its_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    images._register_heic.cache_clear()
    with pytest.raises(ValueError, match=r"a HEIC image, .* convert it to JPEG, or install multimodal-algo\[heic\]"):
        decode_images(HEIC)


def test_heic_is_read_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("pillow_heif")

    def register_heif_opener() -> None:
        data = encoded(PLAIN, "PNG")
        Image.register_open("HEIF", lambda stream, name: PngImagePlugin.PngImageFile(io.BytesIO(data), name), None)

    module.register_heif_opener = register_heif_opener  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    images._register_heic.cache_clear()
    try:
        assert tuple(decode_images(HEIC)[0][0, 0]) == COLOUR
    finally:
        images._register_heic.cache_clear()
        Image.OPEN.pop("HEIF", None)
        Image.ID.remove("HEIF")
