"""Cuts input files into records and packs records into payloads (request bodies), as SageMaker's batch transform does.

Sources: developer guide, *batch-transform* and *batch-transform-data-processing*.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from multimodal_algo.config.transform import BatchStrategy, CompressionType, SplitType
from multimodal_algo.core.errors import UserError

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Payload:
    """The body of one request, with one or more records.

    Parameters
    ----------
    body
        Bytes of the records, unchanged from the file.
    first_line
        Number of the first record's line in the file, from 1.
    records
        Number of records.
    """

    body: bytes
    first_line: int
    records: int


@contextmanager
def open_input(path: Path, name: str, compression: CompressionType) -> Iterator[IO[bytes]]:
    """Open an input file of a transform job for reading, and decompress it if the job says so.

    Parameters
    ----------
    path
        Path of the file.
    name
        Name of the file in messages.
    compression
        Compression that the job's settings name.

    Raises
    ------
    UserError
        The settings name gzip, and the file is not gzip or is cut off.
    """
    try:
        with path.open("rb") if compression is CompressionType.NONE else cast(IO[bytes], gzip.open(path)) as stream:
            yield stream
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{name}: not a whole gzip file ({error}). Compress it, or set CompressionType=None.") from None


def chunks(path: Path, name: str, compression: CompressionType) -> Iterator[bytes]:
    """Yield the decompressed bytes of an input file in pieces of at most 1 MB. See `open_input` for the parameters."""
    with open_input(path, name, compression) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


def payloads(stream: IO[bytes], name: str, split: SplitType, strategy: BatchStrategy, limit: int) -> Iterator[Payload]:
    r"""Yield the payloads (request bodies) of one file in order. An empty file has none.

    A record includes its newline, which the last record may lack. ``\r\n``, byte order marks, blank lines and U+2028
    are not changed.

    Parameters
    ----------
    stream
        The file, which is read once from front to back.
    name
        Name of the file in messages.
    split
        Whether the file is cut at each line or not at all.
    strategy
        Whether a payload has one record or as many as fit.
    limit
        Largest number of bytes in a payload.

    Raises
    ------
    UserError
        A record is larger than the limit. If the file is not cut, all of it is one record.
    """
    if split is SplitType.NONE:
        body = stream.read()
        if len(body) > limit:
            raise UserError(f"{name}: {_too_large(len(body), limit)} Split it by Line.")
        if body:
            yield Payload(body, 1, 1)
        return
    waiting: list[bytes] = []
    waiting_bytes, first_line = 0, 1
    for line, record in enumerate(stream, start=1):
        if len(record) > limit:
            raise UserError(f"{name}, line {line}: {_too_large(len(record), limit)} Raise --max-payload-mb.")
        if waiting and (strategy is BatchStrategy.SINGLE_RECORD or waiting_bytes + len(record) > limit):
            yield Payload(b"".join(waiting), first_line, len(waiting))
            waiting, waiting_bytes, first_line = [], 0, line
        waiting.append(record)
        waiting_bytes += len(record)
    if waiting:
        yield Payload(b"".join(waiting), first_line, len(waiting))


def _too_large(size: int, limit: int) -> str:
    return f"{size} bytes are more than the payload limit of {limit}."
