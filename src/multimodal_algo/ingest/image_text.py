"""Turns the text of an image cell, base64 or the name of a file, into the bytes of an encoded image.

Strict base64 is tried first, because that is fast. Text that is not strict base64 is repaired if possible.
"""

from __future__ import annotations

import binascii
import re
from urllib.parse import unquote

import pybase64

from multimodal_algo.ingest.image_files import ImageFiles
from multimodal_algo.ingest.image_formats import IMAGE_SUFFIXES, description_of, is_known, not_an_image

_FILE_NAME = re.compile(rf"[^;]{{1,255}}(?:{'|'.join(map(re.escape, IMAGE_SUFFIXES))})", re.IGNORECASE)
# The lengths are bounded, since hostile text may hold "data:" very often.
_DATA_URL = re.compile(r"data:([^,;:]{0,100})(?:;[^,;:]{0,100}){0,9},", re.IGNORECASE)
NO_IMAGES = "which has no images channel"
"""The end of the reason why a cell cannot name a file."""
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=\s]")
_HEX = re.compile(r"(?:0x|\\x)?((?:[0-9a-f]{2})+)", re.IGNORECASE)
# Line breaks, or the texts that programs write for them: Excel writes _x000D_.
_BREAKS = re.compile(r"(?:\\r|\\n|_x000[AD]_|[\r\n\t\v\f\u2028\u2029])+[ \t]*")
_URL_SAFE = str.maketrans("-_", "+/")
_COAT = " \t\r\n\v\f\"'\ufeff\u200b\xa0"
_LONGEST_PLAIN_NAME = 255
# What a text is that is neither base64 nor the name of a file, and the remedy. The first that fits counts.
_OTHERS = (
    (r"https?://", "a web address", "download the image and write it as base64"),
    (r"[a-z][a-z0-9+.-]{1,20}://", "the address of an object or a file", "write the image as base64"),
    (r"(bytearray\()?b['\"]", "the Python form b'…' of bytes", "write base64.b64encode(…).decode() instead"),
    (r"<PIL\.|<_io\.|array\(|<memory", "the printed form of a Python object", "write the encoded image as base64"),
    (r"<", "an HTML or XML text", "write the image that it names as base64"),
    (r"[\[{]", "a list or an object", "join several base64 texts with ;"),
)
_PATTERNS = [(re.compile(pattern, re.IGNORECASE), what, remedy) for pattern, what, remedy in _OTHERS]


def names_a_file(cell: str) -> bool:
    """Return whether a cell looks like the name of an image file. Base64 never does, because it has no dots."""
    return "." in cell and any(_FILE_NAME.fullmatch(part.strip()) for part in cell.split(";"))


def texts_of(cell: str) -> list[str]:
    """Split a cell of an image column at each ``;`` into one text for each image: base64, a data URL or a file name.

    A ``;`` inside a data URL does not split the cell.
    """
    if ":" in cell:
        cell = _DATA_URL.sub(lambda match: f"data:{match[1]}," if _is_other(match[1]) else "", cell)
    return [part for part in map(str.strip, cell.split(";")) if part]


def encoded_image(text: str, files: ImageFiles | None) -> bytes:
    """Return the bytes of the encoded image that a text holds as base64 or names as a file.

    Parameters
    ----------
    text
        Base64, or the name of a file. Line breaks, white space, quotes, the URL-safe alphabet, absent padding, and
        ``+`` that became a blank are accepted in base64.
    files
        Files that the text may name.

    Raises
    ------
    ValueError
        The text is neither base64 nor the name of a file. The message is the reason.
    """
    data = files.read(text) if files is not None else None
    if data is not None:
        return data
    data = _strict(text)
    if data is not None and is_known(data):
        return data
    if files is not None and (similar := files.read_similar(text)) is not None:
        return similar
    if data is None:
        data = _tolerant(text)
        if data is not None and is_known(data):
            return data
        if data is not None and not description_of(data):  # any word is base64 to the tolerant way
            data = None
    raise ValueError(_reason(text, data, files))


def _strict(text: str) -> bytes | None:
    try:
        return pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _is_other(media_type: str) -> bool:
    """Return whether the media type of a data URL shows that it is not an image."""
    kind = media_type.lower().strip()
    return bool(kind) and (not kind.startswith("image/") or kind.startswith("image/svg"))


def _tolerant(text: str) -> bytes | None:
    """Decode base64 that mails, forms, addresses or other programs have altered. None if it is not base64."""
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    text = _BREAKS.sub("", text.strip(_COAT))
    if "%" in text:
        text = unquote(text)
    text = text.translate(_URL_SAFE)
    for candidate in _without_blanks(text) if " " in text else [text]:
        digits = candidate.rstrip("=")
        if (data := _strict(digits + "=" * (-len(digits) % 4))) is not None:
            return data
    return None


def _without_blanks(text: str) -> list[str]:
    """Return texts that base64 with blanks may have been: without the blanks, or with ``+`` in their place."""
    pieces = text.split(" ")
    width = len(pieces[0])
    are_lines = (
        width >= 40
        and width % 4 == 0
        and all(len(piece) == width for piece in pieces[:-1])
        and len(pieces[-1]) <= width
    )
    candidates = ["".join(pieces), "+".join(pieces)] if are_lines else ["+".join(pieces), "".join(pieces)]
    # A whole number of groups of four is what padded base64 has, so it counts more.
    return sorted(candidates, key=lambda candidate: len(candidate) % 4 != 0)


def _reason(text: str, data: bytes | None, files: ImageFiles | None) -> str:
    """Return why a text is not an image, for a message. `data` is the decoded text if it is base64."""
    if other := _other_text(text):
        return other
    if _FILE_NAME.fullmatch(text):
        where = "this job, which has no images channel" if files is None else f"the images channel{_hint(text, files)}"
        return f"there is no file '{text[:60]}' in {where}"
    reason = _why_not_base64(text) if data is None else not_an_image(data)
    if files is not None and len(text) <= _LONGEST_PLAIN_NAME:
        return f"{reason}, and not a file in the images channel{_hint(text, files)}"
    return reason


def _hint(text: str, files: ImageFiles) -> str:
    nearest = files.nearest(text)
    return f" (the nearest is '{nearest[:60]}')" if nearest else ""


def _other_text(text: str) -> str | None:
    """Return a description of a text that is recognised and is not an image, with the remedy. Otherwise return None."""
    bare = text.lstrip(_COAT)
    if (hexadecimal := _HEX.fullmatch(bare.rstrip(_COAT))) and is_known(bytes.fromhex(hexadecimal[1][:512])):
        return "hexadecimal digits, which are not read; write the image as base64"
    if url := re.match(r"data:([^,;]*)", bare, re.IGNORECASE):
        return f"a data URL of {url[1][:40]}, which is not an image; write an image as base64"
    for pattern, what, remedy in _PATTERNS:
        if pattern.match(bare):
            return f"{what}, which is not read; {remedy}"
    return None


def _why_not_base64(text: str) -> str:
    if foreign := _NOT_BASE64.search(text.translate(_URL_SAFE)):
        return f"not base64 (character {foreign.group()!r} at position {foreign.start() + 1})"
    if len(text) % 4:
        return f"not base64 (length {len(text)} is not a multiple of 4)"
    return "not base64 (padding in the wrong place)"
