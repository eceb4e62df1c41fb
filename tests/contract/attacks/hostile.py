"""Bodies that are small on the wire and would be large in memory, or long in time. None is a secret."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

Body = tuple[str, Callable[[], bytes]]


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream, compression="zstd", **options)
    return stream.getvalue()


def repeated(value: str, rows: int) -> pa.DictionaryArray:
    """A column that has one value in all rows, and in the file once."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), [value])


def row(image: str = "", text: str = "x") -> bytes:
    return f"1,{text},x,1,2,red,Eiko,{image}\n".encode()


def image(mode: str, size: tuple[int, int], kind: str = "PNG", **options: Any) -> str:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, kind, **options)
    return base64.b64encode(stream.getvalue()).decode()


def tiff_of_equal_values(entries: int = 20_000, size: int = 500_000) -> bytes:
    """A TIFF structure, which EXIF is too, whose entries all name the same bytes."""
    at = 8 + 2 + 12 * entries + 4
    directory = b"".join(struct.pack("<HHII", 1000 + number, 7, size, at) for number in range(entries))
    return b"II*\0" + struct.pack("<IH", 8, entries) + directory + bytes(4 + size)


def png_with_chunk(kind: bytes, content: bytes) -> str:
    stream = io.BytesIO()
    Image.new("RGB", (32, 32)).save(stream, "PNG")
    png = stream.getvalue()
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return base64.b64encode(png[:33] + chunk + png[33:]).decode()


def jpeg_of_many_scans(side: int, scans: int) -> str:
    stream = io.BytesIO()
    Image.new("RGB", (side, side)).save(stream, "JPEG", progressive=True, quality=1)
    jpeg = stream.getvalue()
    last = jpeg[jpeg.rfind(b"\xff\xda") : -2]
    return base64.b64encode(jpeg[:-2] + last * scans + b"\xff\xd9").decode()


def compressed(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


TINY = image("P", (1, 1), "GIF")
CSV, JSON, LINES, PARQUET = "text/csv", "application/json", "application/jsonlines", "application/x-parquet"
REFUSED: dict[str, Body] = {
    "one value in 200,000 rows": (PARQUET, lambda: parquet({"title_text": repeated("x" * 100_000, 200_000)})),
    "one value in a long list": (
        PARQUET,
        lambda: parquet({"photo_image": pa.ListArray.from_arrays([0, 100_000], repeated("x" * 1_000_000, 100_000))}),
    ),
    "lines": (CSV, lambda: b"\n" * 25_000_000),
    "rows": (CSV, lambda: b",,,,,,,\n" * 3_000_000),
    "fields": (CSV, lambda: b"," * 10_000_000),
    "lines in gzip": (CSV, lambda: gzip.compress(b"\n" * 25_000_000)),
    "gzip": (CSV, lambda: gzip.compress(bytes(40_000_000))),
    "lists": (JSON, lambda: b"[" + b"[]," * 8_000_000 + b"[]]"),
    "objects": (JSON, lambda: b"[" + b"{}," * 8_000_000 + b"{}]"),
    "lists in lists": (JSON, lambda: b"[" * 25_000_000),
    "keys": (JSON, lambda: json.dumps(dict.fromkeys(map(str, range(1_100_000)))).encode()),
    "objects in lines": (LINES, lambda: b"{}\n" * 8_000_000),
    "100,000 images in a cell": (CSV, lambda: row(";".join([TINY] * 100_000))),
    "101 million pixels": (CSV, lambda: row(image("L", (10_100, 10_000)))),
    "scans of a JPEG": (CSV, lambda: row(jpeg_of_many_scans(6000, 200))),
    "metadata of a TIFF": (CSV, lambda: row(base64.b64encode(tiff_of_equal_values()).decode())),
}
"""Bodies that are answered with 400 or 413."""
ANSWERED: dict[str, Body] = {
    "98 million pixels": (CSV, lambda: row(image("L", (9900, 9900))) * 2),
    "9 million pixels of WebP": (CSV, lambda: row(image("RGB", (3000, 3000), "WEBP", lossless=True, method=0)) * 4),
    "EXIF": (CSV, lambda: row(png_with_chunk(b"eXIf", tiff_of_equal_values()))),
    "a profile": (CSV, lambda: row(png_with_chunk(b"iCCP", b"x\0\0" + compressed(50_000_000)))),
    "a comment": (CSV, lambda: row(png_with_chunk(b"zTXt", b"x\0\0" + compressed(50_000_000)))),
    "images in all rows": (CSV, lambda: row(";".join([TINY] * 50)) * 4),
    "a text": (CSV, lambda: row(text="\U0001f600" + "x" * 2_000_000)),
}
"""Bodies whose rows are answered, in bounded memory."""
