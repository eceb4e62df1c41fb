"""Channels whose files lie on several hosts: whole on each (``FullyReplicated``), or a share on each."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import TypeVar

from multimodal_algo.core.errors import PlatformError, UserError
from multimodal_algo.core.files import sha256
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.execution.protocol import Executor, WorkItem
from multimodal_algo.ingest.findings import NO_HEADER
from multimodal_algo.ingest.images import ImageFiles
from multimodal_algo.ingest.reading import EncodersOf, Part, Reading, first_header, join_parts, read_part
from multimodal_algo.ingest.scan import CHUNK_ROWS
from multimodal_algo.ingest.sources import Section, Source, cut, find_sources

T = TypeVar("T")

PIPED = "piped"
# More tasks than hosts, so that those with quicker files or cores read more of them.
_TASKS_A_HOST = 3
# What a task has read goes through memory as a whole.
_TASK_BYTES = 512 * 1024 * 1024
# Smaller files are not cut.
_CUT_BYTES = 64 * 1024


@dataclass(frozen=True)
class Shard:
    """A file of a channel, or a section of one.

    Parameters
    ----------
    name
        Its path below the channel's directory; empty where the channel is one file.
    size
        Bytes.
    hosts
        Those that have it.
    section
        The rows of the file that it is; None for all.
    """

    name: str
    size: int
    hosts: tuple[str, ...]
    section: Section | None = None

    def source(self, location: Path) -> Source:
        """The file, or the section, of the channel at `location`."""
        path = location / self.name if self.name else location
        name = f"{location.name}/{self.name}" if self.name else location.name
        return Source(path, name, section=self.section)

    @property
    def told(self) -> str:
        """What messages call it."""
        return f"{self.name or 'file'}{'' if self.section is None else f' from row {self.section.row + 1}'}"


def digest_of(location: Path, executor: Executor, *, whole: bool) -> str:
    """What changes with the content of a channel, however its files are dealt to the hosts.

    Parameters
    ----------
    location
        The channel's directory, file or FIFO, the same on all hosts.
    executor
        Asks the hosts.
    whole
        Whether files are read; else only names and sizes count.

    Raises
    ------
    UserError
        There is nothing.
    """
    if location.is_fifo():
        return PIPED
    found = _agreed(executor.ask_hosts(partial(_told, location, whole)), location)
    if not found:
        raise UserError(f"{location}: there is no such file or directory. Give a CSV file or a folder of them.")
    digest = hashlib.sha256()
    for name, (told, _) in found.items():
        digest.update(json.dumps([name or location.name, *told]).encode())
    return digest.hexdigest()


def _told(location: Path, whole: bool) -> dict[str, tuple[int, str]]:
    """Size and digest of each file."""
    files = [location] if location.is_file() else sorted(path for path in location.rglob("*") if path.is_file())
    return {_below(path, location): (path.stat().st_size, sha256(path) if whole else "") for path in files}


def find_shards(location: Path, executor: Executor) -> list[Shard]:
    """The files of a channel that hold rows, in their order.

    Parameters
    ----------
    location
        The channel's directory or file, the same on all hosts.
    executor
        Asks the hosts.

    Raises
    ------
    UserError
        No host has any, or the channel comes by Pipe.
    PlatformError
        Files of one name differ.
    """
    if location.is_fifo():
        raise UserError(
            f"The channel '{location.name.removesuffix('_0')}' comes by Pipe, which several instances cannot share: "
            "set its InputMode to File or FastFile, or distribution=off."
        )
    found = _agreed(executor.ask_hosts(partial(_tables, location)), location)
    if not found:
        find_sources(location)  # says what is wrong
    return [Shard(name, size, hosts) for name, (size, hosts) in found.items()]


def _tables(location: Path) -> dict[str, int]:
    try:
        return {_below(source.path, location): source.size for source in find_sources(location)}
    except UserError:
        return {}


def _agreed(answers: Mapping[str, Mapping[str, T]], location: Path) -> dict[str, tuple[T, tuple[str, ...]]]:
    """Of each file what is told of it, and by whom, in the order of one directory with all of them."""
    found: dict[str, tuple[T, tuple[str, ...]]] = {}
    for host, files in answers.items():
        for name, told in files.items():
            before, hosts = found.get(name, (told, ()))
            if before != told:
                raise PlatformError(f"{location.name}/{name} differs on {hosts[0]} and {host}.")
            found[name] = told, (*hosts, host)
    return dict(sorted(found.items(), key=lambda item: PurePosixPath(item[0])))


def _below(path: Path, location: Path) -> str:
    return "" if path == location else path.relative_to(location).as_posix()


def read_shards(
    shards: Sequence[Shard],
    location: Path,
    directory: Path,
    executor: Executor,
    *,
    encoders_of: EncodersOf,
    images: Path | None,
    reading: Reading,
    scratch: Path,
) -> tuple[int, FeatureSchema]:
    """Read the rows of a channel on all hosts, each by one that has its file, and join them as `ingest` has them.

    Parameters
    ----------
    shards
        See `find_shards`.
    location
        See `Shard.source`.
    directory
        Where the dataset goes.
    executor
        Does the work.
    encoders_of
        The frozen networks, which every host can load: it is pickled.
    images
        Directory of files that image cells may name, on every host.
    reading
        Its `schema` may be None: it is then that of the first file.
    scratch
        Directory for the parts.

    Returns
    -------
    rows
        How many rows the dataset has.
    schema
        Its columns.

    Raises
    ------
    UserError
        Anything that the user can fix in the data.
    """
    if reading.schema is None:
        schema, name = _first_header(shards, location, executor, scratch / "header")
        reading = replace(reading, schema=schema, first_file=name)
    assert reading.schema is not None
    slots = max(1, executor.gpus or executor.width)
    shards = cut_shards(shards, location, reading.schema, slots, executor, scratch / "cuts")
    work = [(host, _runs(numbers)) for host, numbers in deal(shards, slots)]
    tasks = (
        WorkItem(
            f"{location.name}, {shards[runs[0][0]].told} to {shards[runs[-1][-1]].told}",
            _Read(location, tuple(tuple(shards[n] for n in run) for run in runs), encoders_of, images, reading),
            wants_gpu=True,
            host=host,
        )
        for host, runs in work
    )
    parts: dict[int, tuple[Part, Path]] = {}
    for done in executor.run(tasks, scratch / "parts"):
        for place, (run, part) in enumerate(zip(work[done.number][1], done.value, strict=True)):
            parts[run[0]] = part, done.directory / str(place)
    rows = join_parts([parts[first] for first in sorted(parts)], directory, reading)
    shutil.rmtree(scratch)
    return rows, reading.schema


def _first_header(
    shards: Sequence[Shard], location: Path, executor: Executor, scratch: Path
) -> tuple[FeatureSchema, str]:
    for number, shard in enumerate(shards):
        item = WorkItem("the header", partial(_header, location, shard), host=shard.hosts[0], coordinates=True)
        for done in executor.run([item], scratch / str(number)):
            if done.value is not None:
                return done.value
    raise UserError(NO_HEADER)


def _header(location: Path, shard: Shard, directory: Path) -> tuple[FeatureSchema, str] | None:
    try:
        return first_header([shard.source(location)])
    except UserError as error:
        if str(error) == NO_HEADER:  # a file of blank lines
            return None
        raise


def cut_shards(
    shards: Sequence[Shard], location: Path, schema: FeatureSchema, slots: int, executor: Executor, scratch: Path
) -> list[Shard]:
    """The same rows in the same order, in sections where files are too large to be dealt well.

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
        Does the work: such a file is read to find where its rows begin, by a host that has it.
    scratch
        Directory for the work.
    """
    large = [
        (number, host, most)
        for host, numbers, most in _shares(shards, slots)
        for number in numbers
        if shards[number].size > max(most, _CUT_BYTES)
    ]
    tasks = (
        WorkItem(
            f"{location.name}, {shards[number].told}",
            _Cut(shards[number].source(location), schema.columns, most),
            host=host,
        )
        for number, host, most in large
    )
    cuts: dict[int, list[Section]] = {}
    for done in executor.run(tasks, scratch):
        cuts[large[done.number][0]] = done.value
    found: list[Shard] = []
    for number, shard in enumerate(shards):
        sections = cuts.get(number)
        found += [replace(shard, size=s.size, section=s) for s in sections] if sections else [shard]
    return found


def deal(shards: Sequence[Shard], slots: int) -> list[tuple[str | None, list[int]]]:
    """Numbers of files, or sections, for each task, and the host that it is for; None where all hosts have them.

    Parameters
    ----------
    shards
        All of them.
    slots
        How many tasks are done at the same time.
    """
    work = []
    for host, numbers, most in _shares(shards, slots):
        group: list[int] = []
        size = 0
        for number in numbers:
            group.append(number)
            size += shards[number].size
            if size >= most:
                work.append((host, group))
                group, size = [], 0
        if group:
            work.append((host, group))
    return work


def _shares(shards: Sequence[Shard], slots: int) -> list[tuple[str | None, list[int], int]]:
    """The numbers of those that one host has, or that all have (None), and how many bytes a task of theirs should have.

    A file that some hosts have is the first one's.
    """
    everywhere = len({host for shard in shards for host in shard.hosts})
    shares: dict[str | None, list[int]] = {}
    for number, shard in enumerate(shards):
        shares.setdefault(None if len(shard.hosts) == everywhere else shard.hosts[0], []).append(number)
    found = []
    for host, numbers in shares.items():
        tasks = _TASKS_A_HOST * (slots if host is None else 1)
        most = max(1, min(_TASK_BYTES, sum(shards[number].size for number in numbers) // tasks))
        found.append((host, numbers, most))
    return found


def _runs(numbers: Iterable[int]) -> list[list[int]]:
    """`numbers`, ascending, cut where one is missing."""
    runs = groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    return [[number for _, number in run] for _, run in runs]


@dataclass(frozen=True)
class _Cut:
    """The work of finding sections of a file."""

    source: Source
    columns: tuple[str, ...]
    least_bytes: int

    def __call__(self, directory: Path) -> list[Section]:
        return cut(self.source, self.columns, self.least_bytes, CHUNK_ROWS)


@dataclass(frozen=True)
class _Read:
    """The work of reading some files or sections, in runs without gaps."""

    location: Path
    runs: tuple[tuple[Shard, ...], ...]
    encoders_of: EncodersOf
    images: Path | None
    reading: Reading

    def __call__(self, directory: Path) -> list[Part]:
        return [
            read_part(
                [shard.source(self.location) for shard in run],
                directory / str(place),
                self.encoders_of,
                images=None if self.images is None else ImageFiles(self.images),
                reading=self.reading,
            )
            for place, run in enumerate(self.runs)
        ]
