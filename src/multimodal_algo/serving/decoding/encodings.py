"""Text bodies are converted to UTF-8.

A body that is in another encoding is refused, and the message names the encoding.
"""

from __future__ import annotations

import codecs
import encodings
import pkgutil
import re
from collections.abc import Iterable
from encodings.aliases import aliases
from functools import cache

from multimodal_algo.core.encodings import narrow_encoding
from multimodal_algo.core.errors import UserError

BOM = codecs.BOM_UTF8
_UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "utf-8-sig", ""})
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_MARKS_AT_BEGIN = re.compile(rb"(?:%s)*" % BOM)
_SAMPLE_BYTES = 4096
# Python's codecs that are not character sets of tables. That of punycode takes quadratic time.
_NOT_CHARSETS = frozenset(
    {"aliases", "base64_codec", "bz2_codec", "charmap", "hex_codec", "idna", "mbcs", "oem", "punycode", "quopri_codec",
     "raw_unicode_escape", "rot_13", "undefined", "unicode_escape", "uu_codec", "zlib_codec"}
)  # fmt: skip
_KNOWN_AS = {"WINDOWS-1252": "Latin-1 (Windows-1252)"}
# Fewer lines may be accidents.
_WHOLLY_ANOTHER = 3


def utf8_of(body: bytes, charset: str) -> bytes:
    """Return a text body in UTF-8, without byte order marks at its beginning.

    `charset` is the encoding from the content type.

    Raises
    ------
    UserError
        The body is not in the encoding `charset`. Or it is UTF-16 or UTF-32, and `charset` does not say so.
    """
    name = charset.strip("\"' ").lower().replace("_", "-")
    if name not in _UTF8:
        try:
            body = body.decode(_codec(name)).encode("utf-8")
        except (LookupError, ValueError):
            raise UserError(f"The body cannot be read as charset {charset[:40]}. Send UTF-8.") from None
    elif utf := _utf_16_or_32(body):
        raise UserError(
            f"The body is {utf}, not UTF-8. Save it as UTF-8, since SplitType Line cannot cut it, or send a whole "
            f"body with charset={utf.lower()} in the content type."
        )
    begin = _MARKS_AT_BEGIN.match(body)
    assert begin is not None
    return body[begin.end() :]


def _codec(charset: str) -> str:
    """Return the name of Python's codec for a character set.

    Unknown names are not passed to Python, because it remembers each name forever.

    Raises
    ------
    LookupError
        There is no such character set.
    """
    name = charset.replace("-", "_").replace(" ", "_")
    name = aliases.get(name, name)
    if name not in _codecs():
        raise LookupError(charset)
    return name


@cache
def _codecs() -> frozenset[str]:
    return frozenset(module.name for module in pkgutil.iter_modules(encodings.__path__)) - _NOT_CHARSETS


def not_utf8(line: bytes, error: UnicodeDecodeError) -> str:
    """Return the phrase for the problem of a line that is not UTF-8, with the first wrong byte."""
    return f"not UTF-8 (byte 0x{line[error.start]:02x} at position {error.start + 1})"


def refuse_another_encoding(lines: Iterable[bytes]) -> None:
    """Raise an error if all of a body seems to be in another encoding than UTF-8.

    One line with a wrong byte is only a bad row. But if several lines have characters beyond ASCII, and none of these
    lines is UTF-8, the whole body has another encoding.

    Raises
    ------
    UserError
        The lines are in another encoding.
    """
    wrong = []
    for line in lines:
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            wrong.append(line)
        else:
            return
    if len(wrong) < _WHOLLY_ANOTHER:
        return
    encoding = narrow_encoding(b"\n".join(wrong)[:_SAMPLE_BYTES])
    name = f"likely {_KNOWN_AS.get(encoding, encoding)}, " if encoding else ""
    charset = encoding.lower() if encoding else "…"
    raise UserError(
        f"The body is {name}not UTF-8: {len(wrong)} lines have bytes of another encoding. Save it as UTF-8, or send "
        f"charset={charset} in the content type. No row of this request was answered."
    )


def _utf_16_or_32(body: bytes) -> str | None:
    """Return ``UTF-16`` or ``UTF-32`` if the body looks like one of them, otherwise None."""
    for mark, name in _MARKS.items():
        if body.startswith(mark):
            return name
    sample = body[:_SAMPLE_BYTES]
    zeros = sample.count(0)
    if zeros < 2 or zeros * 10 < len(sample):
        return None
    # Digits, commas and newlines of UTF-16 have a zero as every other byte, at even or at odd positions.
    odd = sample[1::2].count(0)
    if max(odd, zeros - odd) * 20 < zeros * 19:
        return None
    # Cut at newlines, the text may begin with the second byte of a newline. The order does not matter to the message.
    return "UTF-16LE" if odd * 2 > zeros else "UTF-16BE"
