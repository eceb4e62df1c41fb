"""Input files to payloads, as the platform's batch transform cuts and packs them.

Source: developer guide, *batch-transform* and *batch-transform-data-processing*.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, cast

from multimodal_algo.core.errors import UserError

_CHUNK_BYTES = 1 << 20


class SplitType(StrEnum):
    """How a file is cut into records: at every newline, quoted or not, or not at all."""

    LINE = "Line"
    NONE = "None"


class BatchStrategy(StrEnum):
    """Whether a payload holds as many records as fit, or one."""

    MULTI_RECORD = "MultiRecord"
    SINGLE_RECORD = "SingleRecord"


class CompressionType(StrEnum):
    """Whether input files are gzip, and cut after decompression."""

    NONE = "None"
    GZIP = "Gzip"


@dataclass(frozen=True)
class Payload:
    """The body of one request.

    Parameters
    ----------
    body
        The bytes of its records, untouched.
    first_line
        The line of the file that it begins with, from 1.
    records
        How many records it holds.
    """

    body: bytes
    first_line: int
    records: int


@contextmanager
def opened(path: Path, name: str, compression: CompressionType) -> Iterator[IO[bytes]]:
    """The bytes of an input file, decompressed.

    Raises
    ------
    UserError
        It should be gzip and is not, or ends too early.
    """
    try:
        with path.open("rb") if compression is CompressionType.NONE else cast(IO[bytes], gzip.open(path)) as stream:
            yield stream
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{name}: not a whole gzip file ({error}); compress it, or set CompressionType=None.") from None


def chunks(path: Path, name: str, compression: CompressionType) -> Iterator[bytes]:
    """The bytes of an input file, decompressed, some at a time."""
    with opened(path, name, compression) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


def payloads(stream: IO[bytes], name: str, split: SplitType, strategy: BatchStrategy, limit: int) -> Iterator[Payload]:
    r"""The payloads of one file, in order; none for an empty file.

    A record keeps its newline; the last one may lack it. ``\r\n``, byte order marks, blank lines and U+2028 pass
    through untouched.

    Parameters
    ----------
    stream
        The file, read once from front to back.
    name
        Its name in messages.
    split, strategy
        The job's settings.
    limit
        Most bytes of a payload.

    Raises
    ------
    UserError
        A record (or, unsplit, the file) that is larger than the limit.
    """
    if split is SplitType.NONE:
        body = stream.read()
        if len(body) > limit:
            raise UserError(f"{name}: {_too_large(len(body), limit)} Split it by Line.")
        if body:
            yield Payload(body, 1, 1)
        return
    held: list[bytes] = []
    held_bytes, first = 0, 1
    for line, record in enumerate(stream, start=1):
        if len(record) > limit:
            raise UserError(f"{name}, line {line}: {_too_large(len(record), limit)} Raise --max-payload-mb.")
        if held and (strategy is BatchStrategy.SINGLE_RECORD or held_bytes + len(record) > limit):
            yield Payload(b"".join(held), first, len(held))
            held, held_bytes, first = [], 0, line
        held.append(record)
        held_bytes += len(record)
    if held:
        yield Payload(b"".join(held), first, len(held))


def _too_large(size: int, limit: int) -> str:
    return f"{size} bytes are more than the payload limit of {limit}."
