"""Decides which host reads which files of a channel.

SageMaker copies all files of a channel to every host (``FullyReplicated``), or gives each host some of the files
(``ShardedByS3Key``).
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

from multimodal_algo.config.combinations import shared_pipe
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
    """A file of a channel, a section of a file, or a FIFO, which one host reads.

    Parameters
    ----------
    name
        Path below the channel's directory. Empty if the channel is one file.
    size
        Size in bytes, 0 for a FIFO.
    hosts
        Hosts that have the file.
    section
        Rows of the file that belong to the shard. None for all rows.
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
        """Return what this shard reads: a whole file of the channel in folder `location`, or a range of its bytes."""
        path = location / self.name if self.name else location
        name = f"{location.name}/{self.name}" if self.name else location.name
        return Source(path, name, is_pipe=self.is_pipe, section=self.section, table=self.table)

    @property
    def label(self) -> str:
        """The name of the file or section in messages."""
        return f"{self.name or 'file'}{'' if self.section is None else f' from row {self.section.row + 1}'}"


class Assignment(NamedTuple):
    """The files and sections (shards) that one work item reads.

    Parameters
    ----------
    host
        The only host that has these files. None if every host has them.
    numbers
        Positions of the shards in the list of all shards, ascending.
    """

    host: str | None
    numbers: list[int]


class _Share(NamedTuple):
    """The shards that only one host has, or those that every host has: then `host` is None.

    `item_bytes` is the size at which a work item has enough shards.
    """

    host: str | None
    numbers: list[int]
    item_bytes: int


def digest_of(location: Path, executor: Executor, *, whole: bool) -> str:
    """Return a hash of a channel's content, to recognise the same data.

    It does not depend on which host has which file.

    Parameters
    ----------
    location
        The channel's directory, file or FIFO, the same on all hosts.
    executor
        Executor that asks the hosts for their files.
    whole
        Whether the contents of files count. Otherwise only names and sizes do, which is faster.

    Raises
    ------
    UserError
        There is no file or directory at `location`.
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
    """Raise an error if files of the channel change while the block reads them.

    Names and sizes are compared on all hosts. A FIFO is not compared.

    Raises
    ------
    UserError
        A file has another size than before, or is new, or is gone. This error replaces an error of the block.
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
    """Return the size and the SHA-256 of each file on this host. The SHA-256 is empty unless `whole` is True."""
    files = [location] if location.is_file() else sorted(path for path in location.rglob("*") if path.is_file())
    try:
        return {_relative(path, location): (path.stat().st_size, sha256(path) if whole else "") for path in files}
    except FileNotFoundError:  # removed since it was listed
        raise _changed(location) from None


def find_shards(location: Path, executor: Executor, table: TableFormat = STANDARD) -> list[Shard]:
    """Return the files of a channel that hold rows, in their order, each with the hosts that have it.

    Parameters
    ----------
    location
        The channel's directory, file or FIFO, the same on all hosts.
    executor
        Executor that asks the hosts for their files.
    table
        Separator and names of the columns.

    Raises
    ------
    UserError
        No host has a file, or several hosts have a FIFO.
    PlatformError
        Files with the same name differ between hosts.
    """
    if location.is_fifo():
        return [replace(_pipe(location, executor.resources.hosts), table=table)]
    files = _merged(executor.ask_hosts(partial(_sizes, location)), location)
    if not files:
        find_sources(location)  # raises, with the reason
    return [Shard(name, size, hosts, table=table) for name, (size, hosts) in files.items()]


def _pipe(location: Path, hosts: tuple[str, ...]) -> Shard:
    if len(hosts) > 1:
        raise shared_pipe(location.name.removesuffix("_0"))
    return Shard("", 0, hosts, is_pipe=True)


def _sizes(location: Path) -> dict[str, int]:
    """Return the size in bytes of each file on this host that holds rows, by path below the channel."""
    try:
        return {_relative(source.path, location): source.size for source in find_sources(location)}
    except UserError:
        return {}


def _merged(answers: Mapping[str, Mapping[str, T]], location: Path) -> dict[str, tuple[T, tuple[str, ...]]]:
    """Merge the hosts' answers about their files: for each file its answer, and the hosts that have the file.

    Files are ordered as in a single directory that has all of them.
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
    """Cut large files into sections, so that work items of similar size can read them. Rows keep their order.

    A host that has a large file reads it, to find where its rows begin.

    Parameters
    ----------
    shards
        Whole files.
    location
        See `Shard.source`.
    schema
        The columns that the headers of the files must have.
    slots
        Number of work items that run at the same time.
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
    """Return one shard per section. Without sections, return the shard as it is."""
    return [replace(shard, size=section.size, section=section) for section in sections or []] or [shard]


def deal(shards: Sequence[Shard], slots: int) -> list[Assignment]:
    """Assign all files and sections to work items. A work item runs on a host that has its files.

    Parameters
    ----------
    shards
        All files or sections of the channel.
    slots
        Number of work items that run at the same time.
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
    """Group the shards by the host that reads them. If some hosts have a file, the first of these hosts reads it."""
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
    """A work item's function: finds the sections of a file, see `sources.cut`."""

    source: Source
    columns: tuple[str, ...]
    least_bytes: int

    def __call__(self, directory: Path) -> list[Section]:
        return cut(self.source, self.columns, self.least_bytes, CHUNK_ROWS)
