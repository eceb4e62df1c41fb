from __future__ import annotations

import base64
import io
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from multimodal_algo.ingest.image_files import ImageFiles
from multimodal_algo.ingest.image_text import encoded_image, texts_of
from multimodal_algo.ingest.images import decode_images, encoded_images


def jpeg(padding: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((24, 24), 90).convert("RGB").save(stream, "JPEG", quality=60)
    return stream.getvalue() + bytes(padding)


# Of all lengths modulo 3, so with no, one and two characters of padding.
IMAGES = [jpeg(-len(jpeg()) % 3 + rest) if rest else jpeg() for rest in range(3)]
TEXT = base64.b64encode(IMAGES[0]).decode()


def wrapped(text: str, end: str, width: int = 76) -> str:
    return end.join(text[at : at + width] for at in range(0, len(text), width))


COATS = {
    "plain": lambda text: text,
    "newlines": lambda text: wrapped(text, "\n") + "\n",
    "carriage returns": lambda text: wrapped(text, "\r\n") + "\r\n",
    "indented lines": lambda text: wrapped(text, "\n    ", 64),
    "escaped newlines": lambda text: wrapped(text, "\\n") + "\\n",
    "escaped carriage returns": lambda text: wrapped(text, "\\r\\n"),
    "line breaks of Excel": lambda text: wrapped(text, "_x000D_\n"),
    "lines joined with blanks": lambda text: wrapped(text, " "),
    "URL-safe": lambda text: text.translate(str.maketrans("+/", "-_")),
    "URL-safe without padding": lambda text: text.translate(str.maketrans("+/", "-_")).rstrip("="),
    "without padding": lambda text: text.rstrip("="),
    "too much padding": lambda text: text.rstrip("=") + "===",
    "form-decoded": lambda text: text.replace("+", " "),
    "percent-encoded": lambda text: quote(text, safe=""),
    "quoted": lambda text: f'"{text}"',
    "single quotes and blanks": lambda text: f"  '{text}'\t",
    "byte order mark": lambda text: "\ufeff" + text,
    "data URL": lambda text: "data:image/jpeg;base64," + text,
    "data URL in capitals": lambda text: "DATA:image/JPEG;charset=x;BASE64," + text,
    "data URL, wrapped": lambda text: "data:image/jpeg;base64,\n" + wrapped(text, "\n"),
    "data URL, URL-safe": lambda text: (
        "data:image/webp;base64," + text.translate(str.maketrans("+/", "-_")).rstrip("=")
    ),
    "data URL of bytes": lambda text: "data:application/octet-stream;base64," + text,
    "data URL without type": lambda text: "data:;base64," + text,
}


@pytest.mark.parametrize("data", IMAGES, ids=["no padding", "two", "one"])
@pytest.mark.parametrize("coat", COATS)
def test_base64_in_any_coat_is_read(coat: str, data: bytes) -> None:
    text = base64.b64encode(data).decode()
    assert list(encoded_images(COATS[coat](text))) == [data]
    assert list(encoded_images(f"{COATS[coat](text)} ; {text}")) == [data, data]


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=60, max_size=400), st.sampled_from(sorted(set(COATS) - {"lines joined with blanks"})))
def test_a_coat_never_changes_the_bytes(content: bytes, coat: str) -> None:
    # JPEGs end so, and with no character that a form would turn into a blank at the end of the text.
    data = b"\xff\xd8\xff" + content + b"\xff\xd9"
    assert list(encoded_images(COATS[coat](base64.b64encode(data).decode()))) == [data]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (f"b'{TEXT}'", "the Python form b'…' of bytes, which is not read; write base64.b64encode(…).decode() instead"),
        (str(IMAGES[0]), "the Python form b'…' of bytes"),
        (f"\"b'{TEXT}'\"", "the Python form b'…' of bytes"),
        (f"bytearray(b'{TEXT}')", "the Python form b'…' of bytes"),
        ("<PIL.JpegImagePlugin.JpegImageFile image mode=RGB size=9x9 at 0x7F>", "the printed form of a Python object"),
        (IMAGES[0].hex(), "hexadecimal digits"),
        (IMAGES[0].hex().upper(), "hexadecimal digits"),
        ("\\x" + IMAGES[0].hex(), "hexadecimal digits"),
        ("0x" + IMAGES[0].hex(), "hexadecimal digits"),
        ("https://example.org/a.jpg?x=1;y=2", "a web address, which is not read; download the image"),
        ("s3://bucket/a.jpg", "the address of an object or a file"),
        ("gs://bucket/a.jpg", "the address of an object or a file"),
        ("file:///home/a.jpg", "the address of an object or a file"),
        ('<img src="a.jpg">', "an HTML or XML text"),
        ('["a.jpg", "b.jpg"]', "a list or an object"),
        ("data:text/html,<h1>x</h1>", "a data URL of text/html, which is not an image"),
        ("data:application/pdf;base64,JVBERi0xLjc=", "a data URL of application/pdf, which is not an image"),
        ("data:image/svg+xml;utf8,<svg/>", "a data URL of image/svg+xml, which is not an image"),
        ("a.jpg", "there is no file 'a.jpg' in this job, which has no images channel"),
        ("photo.HEIC", "there is no file 'photo.HEIC' in this job"),
        ("abcde", "not base64 (length 5 is not a multiple of 4)"),
        ("nan", "not base64 (length 3 is not a multiple of 4)"),
        ("ab*d", "not base64 (character '*' at position 3)"),
        ("ab=d", "not base64 (padding in the wrong place)"),
    ],
)
def test_what_is_not_base64_is_named(cell: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        decode_images(cell)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"%PDF-1.7 x", "a PDF document"),
        (b"PK\x03\x04xxxx", "a ZIP archive"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg xmlns='x'/>", "an SVG drawing"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "an MP4 video"),
        (b"\0\0\0\x20ftypqt  \0\0\2\0", "a QuickTime video"),
        (b'{"error": "not found"}', "a JSON text"),
        (b"\0\0\0\x0cjP  \r\n", "a JPEG 2000 image"),
        (base64.b64encode(IMAGES[0]), "base64 that was encoded twice"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"\0" * 50, "zero bytes alone"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bytes_that_are_not_an_image_are_named(data: bytes, what: str) -> None:
    for cell in (data, base64.b64encode(data).decode(), base64.b64encode(data).decode().rstrip("=")):
        with pytest.raises(ValueError, match="not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF image but ") as caught:
            decode_images(cell)
        assert what in str(caught.value)


def test_a_cell_that_excel_cut_is_named() -> None:
    data = jpeg(40_000)
    cell = base64.b64encode(data[:400] + data[-39_000:]).decode()[:32_767]
    with pytest.raises(ValueError, match="cells of Excel end at 32,767 characters"):
        decode_images(cell)


def test_hostile_text_is_refused_in_linear_time() -> None:
    begin = time.process_time()
    for text in (
        "data:" * 200_000,
        "data:;" * 200_000,
        " \\n" * 200_000,
        "%25" * 200_000,
        "b' " * 200_000,
        "00" * 500_000,
    ):
        with pytest.raises(ValueError, match="not"):
            decode_images(text)
    assert time.process_time() - begin < 10  # a quadratic way takes hours


@given(st.text(min_size=1), st.sampled_from([None, ImageFiles(Path(__file__).parent / "none")]))
def test_a_text_that_is_not_an_image_is_refused(text: str, files: ImageFiles | None) -> None:
    for part in texts_of(text):
        with pytest.raises(ValueError, match=r"\w"):
            encoded_image(part, files)
