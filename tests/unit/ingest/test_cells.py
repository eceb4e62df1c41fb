from __future__ import annotations

import base64
import io
import math
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from multimodal_algo.core.schema import Modality
from multimodal_algo.ingest.cells import BadCell, CellRules, is_missing, parse_cell


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> str:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return base64.b64encode(data.getvalue()).decode()


RED = Image.new("RGB", (300, 200), (200, 30, 40))


@pytest.mark.parametrize("modality", [Modality.TEXT, Modality.CAT])
@pytest.mark.parametrize("cell", ["NA", "None", "null", "nan", "N/A", "-", "01"])
def test_only_the_empty_cell_is_missing_for_text_and_categories(modality: Modality, cell: str) -> None:
    assert parse_cell(modality, cell) == cell
    assert not is_missing(modality, parse_cell(modality, cell))
    for blank in ("", " ", "\t", "\u00a0", "\ufeff"):
        assert is_missing(modality, parse_cell(modality, blank))


@pytest.mark.parametrize("modality", list(Modality))
@pytest.mark.parametrize("cell", ["N/A", " N/A ", "-"])
def test_missing_values_are_missing_in_every_column(modality: Modality, cell: str) -> None:
    rules = CellRules(missing=frozenset({"N/A", "-"}))
    assert is_missing(modality, parse_cell(modality, cell, rules))
    assert not is_missing(Modality.TEXT, parse_cell(Modality.TEXT, "n/a", rules))


@pytest.mark.parametrize("cell", ["N/A", "<NA>", "None", "#N/A", "-", "n/a", "?"])
def test_what_looks_like_a_missing_number_is_offered_to_be_one(cell: str) -> None:
    for modality in (Modality.NUM, Modality.IMAGE):
        with pytest.raises(BadCell, match=rf"missing_values={re.escape(cell)} "):
            parse_cell(modality, cell)


def test_white_space_at_the_ends_and_the_unicode_form_do_not_matter() -> None:
    for modality in (Modality.TEXT, Modality.CAT):
        assert parse_cell(modality, " \u200bCafe\u0301\u00a0\n") == "Caf\u00e9"


@pytest.mark.parametrize("cell", ["", "NaN", "NA", "null", " nan "])
def test_missing_numbers(cell: str) -> None:
    assert math.isnan(parse_cell(Modality.NUM, cell))


@pytest.mark.parametrize(("cell", "value"), [("1", 1.0), (" -2.5 ", -2.5), ("1e3", 1000.0), ("007", 7.0)])
def test_numbers(cell: str, value: float) -> None:
    assert parse_cell(Modality.NUM, cell) == value


@pytest.mark.parametrize("cell", ["12kg", "1,5", "1_000", "inf", "-Infinity", "1e999", "None"])
def test_what_is_not_a_finite_number_is_told(cell: str) -> None:
    with pytest.raises(BadCell, match="not a finite number"):
        parse_cell(Modality.NUM, cell)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_formats_decode_to_a_square_of_the_backbone(kind: str) -> None:
    (pixels,) = parse_cell(Modality.IMAGE, encoded(RED, kind))
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.reshape(-1, 3).mean(axis=0) - (200, 30, 40)).max() < 6


@pytest.mark.parametrize(
    ("image", "kind", "colour"),
    [
        (RED.convert("CMYK"), "JPEG", None),
        (Image.new("L", (50, 60), 77), "PNG", (77, 77, 77)),
        (Image.new("1", (50, 60), 1), "PNG", (255, 255, 255)),
        (Image.new("RGBA", (50, 60), (0, 0, 0, 0)), "PNG", (255, 255, 255)),
        (Image.new("LA", (50, 60), (0, 0)), "PNG", (255, 255, 255)),
        (RED.convert("P"), "PNG", None),
        (Image.fromarray(np.full((50, 60), 77 * 257, dtype=np.uint16)), "PNG", (77, 77, 77)),
    ],
    ids=["CMYK", "grey", "bilevel", "transparent", "grey-alpha", "palette", "16-bit"],
)
def test_any_colour_mode_decodes(image: Image.Image, kind: str, colour: tuple[int, int, int] | None) -> None:
    (pixels,) = parse_cell(Modality.IMAGE, encoded(image, kind))
    assert pixels.shape == (224, 224, 3)
    if colour is not None:
        assert tuple(pixels[100, 100]) == colour


def test_exif_rotation_is_honoured() -> None:
    image = Image.new("RGB", (256, 256), (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, 256, 128))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise to view
    (pixels,) = parse_cell(Modality.IMAGE, encoded(image, exif=exif))
    assert pixels[:, 180:].mean() > 240
    assert pixels[:, :40].mean() < 15


def test_several_images_and_data_prefixes_in_one_cell() -> None:
    cell = f"data:image/jpeg;base64,{encoded(RED)};data:image/png;base64,{encoded(RED, 'PNG')};{encoded(RED)}"
    assert len(parse_cell(Modality.IMAGE, cell)) == 3
    assert parse_cell(Modality.IMAGE, "") == ()


def huge_png(side: int) -> str:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    return base64.b64encode(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    ).decode()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("abcde", "not base64 (length 5 is not a multiple of 4)"),
        ("ab*d", "not base64 (character '*' at position 3)"),
        ("=abc", "not base64"),
        (base64.b64encode(b"hello world!").decode(), "not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF image (12 bytes)"),
        (base64.b64encode(base64.b64decode(encoded(RED))[:900]).decode(), "cannot be decoded"),
        (huge_png(50_000), "50000 x 50000 pixels"),
    ],
    ids=["length", "character", "padding", "no image", "truncated", "bomb"],
)
def test_an_image_that_cannot_be_read_says_why(cell: str, message: str) -> None:
    with pytest.raises(BadCell) as caught:
        parse_cell(Modality.IMAGE, cell)
    assert message in str(caught.value)


def test_a_truncated_image_is_refused_whatever_another_library_asks_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    # AutoMM sets this for the whole process when it is imported.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    cut = base64.b64decode(encoded(RED))[:-200]
    with pytest.raises(BadCell, match="cannot be decoded"):
        parse_cell(Modality.IMAGE, base64.b64encode(cut).decode())
