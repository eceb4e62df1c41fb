"""Input files to payloads, as the platform's batch transform cuts and packs them.

Source: developer guide, *batch-transform* and *batch-transform-data-processing*.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import IO

from multimodal_algo.errors import UserError


class SplitType(StrEnum):
    """How a file is cut into records: at every newline, quoted or not, or not at all."""

    LINE = "Line"
    NONE = "None"


class BatchStrategy(StrEnum):
    """Whether a payload holds as many records as fit, or one."""

    MULTI_RECORD = "MultiRecord"
    SINGLE_RECORD = "SingleRecord"


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
