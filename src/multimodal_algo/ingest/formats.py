"""Recognises the format of a file by its first bytes, because its name may be wrong."""

from __future__ import annotations

import re
from typing import NamedTuple

GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
_BOM = b"\xef\xbb\xbf"

_UNPACK = "Unpack it"
_SAVE_CSV = "Save it as CSV UTF-8 (comma delimited)"
_CONVERT = "Convert it to CSV or Parquet"


class Foreign(NamedTuple):
    """A file format that cannot be read: its name with an article, and a remedy for the user."""

    name: str
    remedy: str


_FOREIGN: tuple[tuple[int, bytes, Foreign], ...] = (
    (0, b"PK\x03\x04", Foreign("a zip archive", _UNPACK)),
    (0, b"PK\x05\x06", Foreign("an empty zip archive", "Leave it out")),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Foreign("an Excel workbook (.xls)", _SAVE_CSV)),
    (0, b"\x28\xb5\x2f\xfd", Foreign("compressed with Zstandard", _UNPACK)),
    (4, b"1AY&SY", Foreign("compressed with bzip2", _UNPACK)),
    (0, b"\xfd7zXZ\x00", Foreign("compressed with xz", _UNPACK)),
    (0, b"\x04\x22\x4d\x18", Foreign("compressed with LZ4", _UNPACK)),
    (0, b"\xff\x06\x00\x00sNaPpY", Foreign("compressed with Snappy", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", Foreign("a 7z archive", _UNPACK)),
    (0, b"Rar!\x1a\x07", Foreign("a RAR archive", _UNPACK)),
    (257, b"ustar", Foreign("a tar archive", _UNPACK)),
    (0, b"Obj\x01", Foreign("an Avro file", _CONVERT)),
    (0, b"ARROW1\x00", Foreign("an Arrow (Feather) file", _CONVERT)),
    (0, b"\xff\xff\xff\xff", Foreign("an Arrow stream", _CONVERT)),
    (0, b"SQLite format 3\x00", Foreign("an SQLite database", _CONVERT)),
    (0, b"\x89HDF\r\n\x1a\n", Foreign("an HDF5 file", _CONVERT)),
    (0, b"\x93NUMPY", Foreign("a NumPy array", _CONVERT)),
    (0, b"SEQ\x06", Foreign("a Hadoop sequence file", _CONVERT)),
    (0, b"%PDF-", Foreign("a PDF", _CONVERT)),
    (0, b"\x89PNG\r\n\x1a\n", Foreign("a PNG image", "Put images into the channel images")),
    (0, b"\xff\xd8\xff", Foreign("a JPEG image", "Put images into the channel images")),
)
# The name of a column may begin so too, but then no byte is 0.
_FOREIGN_WITH_NULS = ((b"ORC", Foreign("an ORC file", _CONVERT)), (b"FEA1", Foreign("a Feather file", _CONVERT)))
_WORKBOOK = Foreign("an Excel workbook (.xlsx)", _SAVE_CSV)
_OPEN_DOCUMENT = Foreign("an OpenDocument spreadsheet (.ods)", _SAVE_CSV)
_JSON = Foreign("JSON", "Convert it to CSV or Parquet, for example with pandas.read_json(…, lines=True)")
_HTML = Foreign("an HTML or XML page", "Download the file itself")
# JSON that begins like this is an object or a list. A cell of CSV does not begin so, unless it is quoted.
_JSON_BEGIN = re.compile(rb'\s*(?:\[\s*)?\{\s*"[^"\n]{0,200}"\s*:')
_HTML_BEGIN = re.compile(rb"\s*<(?:!doctype|html|\?xml)", re.IGNORECASE)
# Names of files within the archive, as far as they stand in its first bytes.
_WORKBOOK_PARTS = (b"[Content_Types].xml", b"xl/", b"docProps/")
_BEGIN_BYTES = 4096


def foreign_format(begin: bytes) -> Foreign | None:
    """Return the format of a file that cannot be read, recognised by its first bytes. None for any other file.

    Gzip is not such a format, because gzip files are decompressed.
    """
    if begin.startswith(b"PK\x03\x04"):
        begin = begin[:_BEGIN_BYTES]
        if any(part in begin for part in _WORKBOOK_PARTS):
            return _WORKBOOK
        if b"mimetypeapplication/vnd.oasis.opendocument" in begin:
            return _OPEN_DOCUMENT
    for offset, magic, foreign in _FOREIGN:
        if begin.startswith(magic, offset):
            return foreign
    for magic, foreign in _FOREIGN_WITH_NULS:
        if begin.startswith(magic) and b"\x00" in begin[:_BEGIN_BYTES]:
            return foreign
    text = begin[:_BEGIN_BYTES].removeprefix(_BOM)
    if _JSON_BEGIN.match(text):
        return _JSON
    return _HTML if _HTML_BEGIN.match(text) else None


def is_json(begin: bytes) -> bool:
    """Return whether a file begins like JSON or JSON Lines."""
    return foreign_format(begin) is _JSON
