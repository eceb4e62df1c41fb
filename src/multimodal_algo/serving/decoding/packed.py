"""Packed bodies: gzip is unpacked up to a limit of size, and other archives are refused by name."""

from __future__ import annotations

import io
import zlib

from multimodal_algo.core.errors import UserError
from multimodal_algo.serving.decoding.bounds import BodyTooLarge

_GZIP = b"\x1f\x8b"
# A client and a proxy may each pack a body. There are gzip files that unpack to themselves.
_MOST_LAYERS = 3
# Bytes that are given to a member of gzip data first. What it leaves is copied, so small members get little.
_FIRST_BYTES, _MOST_AT_ONCE = 256, 1 << 20
_ARCHIVES = {
    b"PK\x03\x04": "a zip archive or an Excel file (.xlsx)",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Excel file (.xls)",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\x00": "an xz file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
}


def unpacked(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """Return the content of a body that may be packed with gzip.

    Parameters
    ----------
    body
        The body as it was sent.
    encoding
        The header ``Content-Encoding``. A gzip body is also recognised by its first bytes.
    most_bytes
        Size in bytes of the largest content that is allowed.

    Raises
    ------
    UserError
        The encoding is not known, the gzip data are broken, or the body is an archive or an Excel file.
    BodyTooLarge
        The content is larger than `most_bytes`.
    """
    encodings = [name for part in encoding.lower().split(",") if (name := part.strip()) not in ("", "identity")]
    if unknown := [name for name in encodings if name not in ("gzip", "x-gzip")]:
        raise UserError(f"The Content-Encoding '{unknown[0][:40]}' is not supported. Send gzip, or leave it out.")
    # A proxy may unpack a body and leave the header.
    for _ in range(_MOST_LAYERS):
        if body.startswith(_GZIP):
            body = _gunzipped(body, most_bytes)
    if body.startswith(_GZIP):
        raise UserError(f"The body is packed with gzip more than {_MOST_LAYERS} times. Pack it once.")
    for magic, name in _ARCHIVES.items():
        if body.startswith(magic) and not (magic == b"BZh" and body[4:10] != b"1AY&SY"):
            raise UserError(f"The body is {name}. Unpack it, or save the table as CSV in UTF-8.")
    return body


def _gunzipped(body: bytes, most_bytes: int) -> bytes:
    """Return the content of gzip data, which may have several members (packed parts). Zeros and newlines may follow."""
    content, at = io.BytesIO(), 0
    while body.startswith(_GZIP, at):
        at = _unpack_member(body, at, content, most_bytes)
    if body[at:].strip(b"\0\r\n"):
        raise UserError(f"The gzip body is broken (other bytes follow). {_REMEDY}")
    return content.getvalue()


def _unpack_member(body: bytes, at: int, content: io.BytesIO, most_bytes: int) -> int:
    """Unpack the gzip member that begins at `at`, and append it to `content`. Return the position of its end."""
    member, step = zlib.decompressobj(wbits=31), _FIRST_BYTES
    while not member.eof:
        if at >= len(body):
            raise UserError(f"The gzip body is cut off. {_REMEDY}")
        try:
            content.write(member.decompress(body[at : at + step], most_bytes - content.tell() + 1))
        except zlib.error as error:
            raise UserError(f"The gzip body is broken ({str(error)[:80]}). {_REMEDY}") from None
        if content.tell() > most_bytes:
            raise BodyTooLarge(f"The gzip body is larger than {most_bytes} bytes once unpacked. Send fewer rows.")
        at, step = at + step, min(2 * step, _MOST_AT_ONCE)
    return min(at, len(body)) - len(member.unused_data)


_REMEDY = "In batch, set CompressionType=Gzip, since SplitType Line cuts the packed file apart."
