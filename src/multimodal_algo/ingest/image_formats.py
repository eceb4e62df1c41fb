"""Recognises formats of images and of other files, and removes metadata from images."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif",
)  # fmt: skip

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
# Beginnings of bytes that are not an image that is read. The first that fits counts.
_OTHERS = (
    (rb"%PDF-", "a PDF document"),
    (rb"PK(\x03\x04|\x05\x06)", "a ZIP archive or an Office document"),
    (rb"\x1f\x8b", "a gzip file"),
    (rb"....ftypqt", "a QuickTime video"),
    (rb"....ftyp", "an MP4 video"),
    (rb"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL image"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (rb"\0\0\x01\0", "an icon (ICO)"),
    (rb"8BPS", "a Photoshop file"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript file"),
    (rb"RIFF....AVI ", "an AVI video"),
    (rb"RIFF....WAVE", "a WAV sound"),
    (rb"ID3|OggS|fLaC", "a sound file"),
    (rb".{128}DICM", "a DICOM file"),
    (rb"\x93NUMPY", "a NumPy array"),
    (rb"\x80[\x02-\x05]", "a Python pickle"),
    (rb"\0\x05\x16\x07", "an AppleDouble file of macOS (._…), without an image"),
    (rb"version https://git-lfs", "a pointer of Git LFS; run git lfs pull"),
    (rb"/9j/|iVBORw0KGgo|R0lGOD|UklGR", "base64 that was encoded twice"),
    (rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg", "an SVG drawing"),
    (rb"(\xef\xbb\xbf)?\s*(<!doctype html|<html|<head|<body)", "an HTML page"),
    (rb"(\xef\xbb\xbf)?\s*<", "an XML or HTML text"),
    (rb"(\xef\xbb\xbf)?\s*[\[{]\s*[\"\[{\d]", "a JSON text"),
    (rb"\0+\Z", "zero bytes alone"),
)
_PATTERNS = [(re.compile(pattern, re.DOTALL | re.IGNORECASE), name) for pattern, name in _OTHERS]
# Entries of versions 2 and 3 for items, up to the item's type.
_AVIF_METADATA = re.compile(rb"(infe(?:\x02.{7}|\x03.{9}))(?:Exif|mime)", re.DOTALL)
# Tags of a TIFF file without which its pixels cannot be read.
_TIFF_TAGS = frozenset(
    tag
    for first, last in ((254, 259), (262, 262), (266, 266), (273, 274), (277, 279), (284, 284), (292, 293), (317, 317),
                        (320, 325), (332, 334), (338, 339), (347, 347), (512, 521), (529, 532))
    for tag in range(first, last + 1)
)  # fmt: skip


def is_known(data: bytes) -> bool:
    """Return whether the bytes begin like an image in a format that can be read."""
    return (
        data.startswith((_JPEG, _PNG, b"GIF8", b"BM", *_TIFF))
        or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")
        or (data[4:8] == b"ftyp" and (data[8:12] in (b"avif", b"avis") or is_heic(data)))
    )


def is_heic(data: bytes) -> bool:
    """Return whether the bytes begin like HEIC or HEIF, the formats of phone photos."""
    if data[4:8] != b"ftyp" or data[8:12] not in _HEIC_BRANDS:
        return False
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    return b"avif" not in brands and b"avis" not in brands


def description_of(data: bytes) -> str:
    """Return a description of the bytes for messages: for example ``a PDF document``.

    Empty if they are not recognised.
    """
    beginning = data[:1024]
    return next((name for pattern, name in _PATTERNS if pattern.match(beginning)), "")


def not_an_image(data: bytes) -> str:
    """Return the message about bytes that are not an image in a readable format."""
    what = description_of(data)
    but = f" but {what}" if what else ""
    return f"not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF image{but} ({len(data)} bytes)"


def without_metadata(data: bytes) -> Iterator[bytes]:
    """Yield the image without metadata except its rotation, and then without any metadata. Pixels stay the same.

    An image whose metadata are broken may be readable without them. Nothing is yielded if the format has no such
    problem, or if the bytes are not well-formed.
    """
    if data.startswith(_JPEG):
        strip = _bare_jpeg
    elif data.startswith(_PNG):
        strip = _bare_png
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        strip = _bare_webp
    elif data.startswith(_TIFF[:2]):
        strip = _bare_tiff
    elif data[4:8] == b"ftyp":
        strip = _bare_avif
    else:
        return
    for keep_rotation in (True, False):
        try:
            yield strip(data, keep_rotation)
        except (IndexError, struct.error):
            return


def _bare_jpeg(data: bytes, keep_rotation: bool) -> bytes:
    """Remove comments and application segments from a JPEG.

    Those of JFIF and Adobe stay, because colours depend on them.
    """
    parts, at = [data[:2]], 2
    while data[at + 1] != 0xDA:  # begin of the pixels
        if data[at] != 0xFF:
            raise IndexError(at)
        marker = data[at + 1]
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") if marker != 0xFF else at + 1
        is_exif = keep_rotation and marker == 0xE1 and data[at + 4 : at + 8] == b"Exif"
        is_colour = marker in (0xE0, 0xEE) and end - at >= 16
        if is_exif or is_colour or not (0xE0 <= marker <= 0xEF or marker in (0xFE, 0xFF)):
            parts.append(data[at:end])
        at = end
    return b"".join((*parts, data[at:]))


def _bare_png(data: bytes, keep_rotation: bool) -> bytes:
    """Remove all PNG chunks that the pixels of the first frame do not need."""
    parts, at = [data[:8]], 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + length + 12
        is_rotation = kind == b"eXIf" and keep_rotation and _has_right_sum(data[at:end])
        is_colour = kind[:1].isupper() or (kind == b"tRNS" and keep_rotation)
        if is_colour or is_rotation:
            parts.append(data[at:end])
        if kind == b"IEND":
            break
        at = end
    return b"".join(parts)


def _has_right_sum(chunk: bytes) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _bare_webp(data: bytes, keep_rotation: bool) -> bytes:
    """Remove the WebP chunks with profiles and metadata, and the flags that announce them."""
    parts, at = [], 12
    dropped = (b"ICCP", b"XMP ") if keep_rotation else (b"ICCP", b"XMP ", b"EXIF")
    end_of_image = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while at + 8 <= end_of_image:
        kind, length = struct.unpack_from("<4sI", data, at)
        chunk = data[at : at + 8 + length + length % 2]
        at += len(chunk)
        if kind == b"VP8X":
            flags = data[at - len(chunk) + 8] & (0b00011010 if keep_rotation else 0b00010010)
            chunk = chunk[:8] + bytes([flags]) + chunk[9:]
        if kind in (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"EXIF") and kind not in dropped:
            parts.append(chunk)
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _bare_tiff(data: bytes, keep_rotation: bool) -> bytes:
    """Remove all entries of the first TIFF directory that its pixels do not need, and the pages after it."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    entries = [data[at + 2 + 12 * n : at + 14 + 12 * n] for n in range(count)]
    needed = [
        entry
        for entry in entries
        if (tag := struct.unpack_from(order + "H", entry)[0]) in _TIFF_TAGS and (keep_rotation or tag != 274)
    ]
    directory = struct.pack(order + "H", len(needed)) + b"".join(needed) + bytes(4)
    return data[:at] + directory + data[at + len(directory) :]


def _bare_avif(data: bytes, keep_rotation: bool) -> bytes:
    """Hide the EXIF and XMP items of an AVIF: they get a type that readers ignore. The rotation is stored elsewhere."""
    return _AVIF_METADATA.sub(rb"\1skip", data)
