"""The files of a channel on all hosts: which hosts have a file, and which host reads it.

The platform copies a channel to every host (``FullyReplicated``), or deals its files to the hosts (``ShardedByS3Key``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

from multimodal_algo.core.errors import PlatformError, UserError
from multimodal_algo.core.files import sha256
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.execution.protocol import Executor, WorkItem
from multimodal_algo.ingest.scan import CHUNK_ROWS
from multimodal_algo.ingest.sources import STANDARD, Section, Source, TableFormat, cut, find_sources

T = TypeVar("T")

PIPED = "piped"
"""The digest of a FIFO, whose content is known only when it is read."""
# A host with quicker files or cores reads more of the items, so there are more items than hosts.
_ITEMS_PER_SLOT = 3
# The whole result of an item goes through memory.
_ITEM_BYTES = 512 * 1024 * 1024
# Smaller files are not cut.
_CUT_BYTES = 64 * 1024


@dataclass(frozen=True)
class Shard:
    """A file of a channel, a section of a file, or a FIFO.

    Parameters
    ----------
    name
        Path below the channel's directory. Empty where the channel is one file.
    size
        Size in bytes, 0 for a FIFO.
    hosts
        Hosts that have the file.
    section
        Rows of the file that count. None for all rows.
    is_pipe
        Whether it is a FIFO of Pipe mode.
    table
        Separator and names of the columns.
    """

    name: str
    size: int
    hosts: tuple[str, ...]
    section: Section | None = None
    is_pipe: bool = False
    table: TableFormat = STANDARD

    def source(self, location: Path) -> Source:
        """Return the file, or its section, of the channel at `location`."""
        path = location / self.name if self.name else location
        name = f"{location.name}/{self.name}" if self.name else location.name
        return Source(path, name, is_pipe=self.is_pipe, section=self.section, table=self.table)

    @property
    def label(self) -> str:
        """The name of the shard in messages."""
        return f"{self.name or 'file'}{'' if self.section is None else f' from row {self.section.row + 1}'}"


class Assignment(NamedTuple):
    """Shards that one work item reads.

    Parameters
    ----------
    host
        The only host that has them. None where every host has them.
    numbers
        Positions of the shards, ascending.
    """

    host: str | None
    numbers: list[int]


class _Share(NamedTuple):
    """Shards that one host has, or every host: `host` is None then. `item_bytes` is the size for a work item."""

    host: str | None
    numbers: list[int]
    item_bytes: int


def digest_of(location: Path, executor: Executor, *, whole: bool) -> str:
    """Return a digest of a channel's content. It does not depend on how the files are dealt to hosts.

    Parameters
    ----------
    location
        The channel's directory, file or FIFO, the same on all hosts.
    executor
        Executor that asks the hosts.
    whole
        Whether files are read. Otherwise the digest covers names and sizes alone.

    Raises
    ------
    UserError
        There is neither a file nor a directory.
    """
    if location.is_fifo():
        return PIPED
    files = _merged(executor.ask_hosts(partial(_digests, location, whole)), location)
    if not files:
        raise UserError(f"{location}: there is no such file or directory. Give a CSV file or a folder of them.")
    digest = hashlib.sha256()
    for name, (description, _) in files.items():
        digest.update(json.dumps([name or location.name, *description]).encode())
    return digest.hexdigest()


@contextmanager
def unchanged(location: Path, executor: Executor) -> Iterator[None]:
    """Refuse a channel whose files change inside the block, which reads them.

    Names and sizes are compared on all hosts. A FIFO cannot be compared.

    Raises
    ------
    UserError
        A file is longer or shorter than before, or is new, or is gone. The block's own error is then of no use.
    """
    if location.is_fifo():
        yield
        return
    before = digest_of(location, executor, whole=False)
    try:
        yield
    except (UserError, OSError) as error:
        _require_same(location, executor, before, error)
        raise
    _require_same(location, executor, before, None)


def _require_same(location: Path, executor: Executor, before: str, reason: Exception | None) -> None:
    try:
        if digest_of(location, executor, whole=False) == before:
            return
    except (UserError, OSError):
        pass  # it is gone
    raise _changed(location) from reason


def _changed(location: Path) -> UserError:
    return UserError(
        f"{location.name}: the files changed while they were read. Start the job when they are written whole."
    )


def _digests(location: Path, whole: bool) -> dict[str, tuple[int, str]]:
    """Return the size and the SHA-256 of each file on this host. The SHA-256 is empty unless files are read."""
    files = [location] if location.is_file() else sorted(path for path in location.rglob("*") if path.is_file())
    try:
        return {_relative(path, location): (path.stat().st_size, sha256(path) if whole else "") for path in files}
    except FileNotFoundError:  # removed since it was listed
        raise _changed(location) from None


def find_shards(location: Path, executor: Executor, table: TableFormat = STANDARD) -> list[Shard]:
    """Return the files of a channel that hold rows, in their order.

    Parameters
    ----------
    location
        The channel's directory, file or FIFO, the same on all hosts.
    executor
        Executor that asks the hosts.
    table
        Separator and names of the columns.

    Raises
    ------
    UserError
        No host has a file, or several hosts have a FIFO.
    PlatformError
        Files with the same name differ.
    """
    if location.is_fifo():
        return [replace(_pipe(location, executor.resources.hosts), table=table)]
    files = _merged(executor.ask_hosts(partial(_sizes, location)), location)
    if not files:
        find_sources(location)  # raises, with the reason
    return [Shard(name, size, hosts, table=table) for name, (size, hosts) in files.items()]


def _pipe(location: Path, hosts: tuple[str, ...]) -> Shard:
    if len(hosts) > 1:
        raise UserError(
            f"The channel '{location.name.removesuffix('_0')}' comes by Pipe, which several instances cannot share: "
            "set its InputMode to File or FastFile, or distribution=off."
        )
    return Shard("", 0, hosts, is_pipe=True)


def _sizes(location: Path) -> dict[str, int]:
    """Return the size of each file on this host that holds rows."""
    try:
        return {_relative(source.path, location): source.size for source in find_sources(location)}
    except UserError:
        return {}


def _merged(answers: Mapping[str, Mapping[str, T]], location: Path) -> dict[str, tuple[T, tuple[str, ...]]]:
    """Merge what hosts answered about their files: for each file the answer, and the hosts that have the file.

    Files come in the order of one directory that has all of them.
    """
    merged: dict[str, tuple[T, tuple[str, ...]]] = {}
    for host, files in answers.items():
        for name, answer in files.items():
            previous, hosts = merged.get(name, (answer, ()))
            if previous != answer:
                raise PlatformError(f"{location.name}/{name} differs on {hosts[0]} and {host}.")
            merged[name] = answer, (*hosts, host)
    return dict(sorted(merged.items(), key=lambda item: PurePosixPath(item[0])))


def _relative(path: Path, location: Path) -> str:
    return "" if path == location else path.relative_to(location).as_posix()


def cut_shards(
    shards: Sequence[Shard], location: Path, schema: FeatureSchema, slots: int, executor: Executor, scratch: Path
) -> list[Shard]:
    """Cut files that are too large to be dealt well into sections. Rows and their order stay.

    A host that has such a file reads it, to find where its rows begin.

    Parameters
    ----------
    shards
        Whole files.
    location
        See `Shard.source`.
    schema
        The columns that their headers must have.
    slots
        See `deal`.
    executor
        Executor of the work.
    scratch
        Directory for temporary files.
    """
    large = [
        (number, share)
        for share in _shares(shards, slots)
        for number in share.numbers
        if shards[number].size > max(share.item_bytes, _CUT_BYTES)
    ]
    items = (
        WorkItem(
            f"{location.name}, {shards[number].label}",
            _Cut(shards[number].source(location), schema.columns, share.item_bytes),
            host=share.host,
        )
        for number, share in large
    )
    sections = {large[result.number][0]: result.value for result in executor.run(items, scratch)}
    return [piece for number, shard in enumerate(shards) for piece in _pieces(shard, sections.get(number))]


def _pieces(shard: Shard, sections: Sequence[Section] | None) -> list[Shard]:
    """Return the shard as one shard per section, or as it is without sections."""
    return [replace(shard, size=section.size, section=section) for section in sections or []] or [shard]


def deal(shards: Sequence[Shard], slots: int) -> list[Assignment]:
    """Deal files, or sections of files, to work items, each for a host that has them.

    Parameters
    ----------
    shards
        All files or sections of the channel.
    slots
        Number of items that are done at the same time.
    """
    assignments = []
    for host, numbers, item_bytes in _shares(shards, slots):
        group: list[int] = []
        size = 0
        for number in numbers:
            group.append(number)
            size += shards[number].size
            if size >= item_bytes:
                assignments.append(Assignment(host, group))
                group, size = [], 0
        if group:
            assignments.append(Assignment(host, group))
    return assignments


def _shares(shards: Sequence[Shard], slots: int) -> list[_Share]:
    """Group the shards by the host that has them. Where some hosts have a file, the first of them reads it."""
    everywhere = len({host for shard in shards for host in shard.hosts})
    numbers_by_host: dict[str | None, list[int]] = {}
    for number, shard in enumerate(shards):
        host = None if len(shard.hosts) == everywhere else shard.hosts[0]
        numbers_by_host.setdefault(host, []).append(number)
    shares = []
    for host, numbers in numbers_by_host.items():
        items = _ITEMS_PER_SLOT * (slots if host is None else 1)
        item_bytes = max(1, min(_ITEM_BYTES, sum(shards[number].size for number in numbers) // items))
        shares.append(_Share(host, numbers, item_bytes))
    return shares


@dataclass(frozen=True)
class _Cut:
    """Work that finds the sections of a file, see `sources.cut`."""

    source: Source
    columns: tuple[str, ...]
    least_bytes: int

    def __call__(self, directory: Path) -> list[Section]:
        return cut(self.source, self.columns, self.least_bytes, CHUNK_ROWS)
