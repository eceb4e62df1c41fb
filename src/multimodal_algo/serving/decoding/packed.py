"""Bodies that are packed: gzip is unpacked within bounds, other archives are named."""

from __future__ import annotations

import zlib

from multimodal_algo.core.errors import UserError

_GZIP = b"\x1f\x8b"
_ARCHIVES = {
    b"PK\x03\x04": "a zip archive or an Excel file (.xlsx)",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Excel file (.xls)",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\x00": "an xz file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
}


class BodyTooLarge(ValueError):
    """The unpacked body is larger than the limit."""


def unpacked(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """Return the content of a body.

    Parameters
    ----------
    body
        The body as it was sent.
    encoding
        The header ``Content-Encoding``. A gzip body is also recognised by its first bytes.
    most_bytes
        Size of the largest content in bytes.

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
    while body.startswith(_GZIP):
        body = _gunzipped(body, most_bytes)
    for magic, name in _ARCHIVES.items():
        if body.startswith(magic) and not (magic == b"BZh" and body[4:10] != b"1AY&SY"):
            raise UserError(f"The body is {name}. Unpack it, or save the table as CSV in UTF-8.")
    return body


def _gunzipped(body: bytes, most_bytes: int) -> bytes:
    """Return the content of all members of gzip data. Zeros and newlines after the last one are ignored."""
    parts: list[bytes] = []
    size = 0
    while body.startswith(_GZIP):
        member = zlib.decompressobj(wbits=31)
        try:
            part = member.decompress(body, most_bytes - size + 1)
        except zlib.error as error:
            raise UserError(f"The gzip body is broken ({str(error)[:80]}). {_REMEDY}") from None
        size += len(part)
        if size > most_bytes:
            raise BodyTooLarge(f"The gzip body is larger than {most_bytes} bytes once unpacked. Send fewer rows.")
        if not member.eof:
            raise UserError(f"The gzip body is cut off. {_REMEDY}")
        parts.append(part)
        body = member.unused_data
    if body.strip(b"\0\r\n"):
        raise UserError(f"The gzip body is broken (other bytes follow). {_REMEDY}")
    return b"".join(parts)


_REMEDY = "In batch, set CompressionType=Gzip, since SplitType Line cuts the packed file apart."
