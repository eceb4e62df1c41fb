"""Reads the files of a channel into one dataset on disk, with work items on one host or on several."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.execution.protocol import Executor, WorkItem
from multimodal_algo.ingest.findings import NO_HEADER
from multimodal_algo.ingest.parts import EncodersOf, Part, ReadSettings, first_header, join_parts, read_part
from multimodal_algo.ingest.sharding import Assignment, Shard, cut_shards, deal, find_shards

_LOG = logging.getLogger(__name__)


def read_channel(
    location: Path,
    directory: Path,
    encoders_of: EncodersOf,
    settings: ReadSettings,
    *,
    executor: Executor,
    scratch: Path,
) -> int:
    """Read every row of a channel once, check it, and write all rows as a dataset into `directory`.

    If the executor runs one work item at a time, one item reads all files. Otherwise large files are cut into sections,
    and each host reads files that it has. Bad rows are listed in ``bad_rows.csv`` in `directory`, also if an error ends
    the reading.

    Parameters
    ----------
    location
        The channel's directory, file or FIFO, the same on all hosts.
    directory
        Directory for the dataset, made when missing.
    encoders_of
        Function that loads networks. It must be picklable, unless the executor runs its work items in this process.
    settings
        Settings of the reading.
    executor
        Executor of the work items.
    scratch
        Directory for temporary datasets, removed at the end.

    Returns
    -------
    int
        Number of rows in the dataset, which `Dataset.read` reads.

    Raises
    ------
    UserError
        The data has a problem that the user can fix.
    PlatformError
        Files with the same name differ between hosts.
    """
    started = time.monotonic()
    shards = find_shards(location, executor, settings.table)
    files = len(shards)
    slots = max(1, executor.resources.gpus or executor.resources.width)
    if any(shard.is_pipe for shard in shards) or (len(executor.resources.hosts) == 1 and slots == 1):
        assignments = [Assignment(None, list(range(files)))]
    else:
        settings = _require_columns(settings, shards, location, executor, scratch / "header")
        assert settings.schema is not None
        shards = cut_shards(shards, location, settings.schema, slots, executor, scratch / "cuts")
        assignments = deal(shards, slots)
    parts = _read_parts(_Read(location, encoders_of, settings), shards, assignments, executor, scratch / "parts")
    rows = join_parts(parts, directory, settings)
    shutil.rmtree(scratch)
    seconds = time.monotonic() - started
    _LOG.info("ingest: %d rows from %d file%s in %.1f s", rows, files, "" if files == 1 else "s", seconds)
    return rows


@dataclass(frozen=True)
class _Read:
    """A work item's function that reads files of a channel.

    It writes one dataset for each run of files without a gap.
    """

    location: Path
    encoders_of: EncodersOf
    settings: ReadSettings
    runs: tuple[tuple[Shard, ...], ...] = ()

    def __call__(self, directory: Path) -> list[Part]:
        return [
            read_part(
                [shard.source(self.location) for shard in run],
                directory / str(number),
                self.encoders_of,
                self.settings,
            )
            for number, run in enumerate(self.runs)
        ]


def _read_parts(
    read: _Read, shards: Sequence[Shard], assignments: Sequence[Assignment], executor: Executor, scratch: Path
) -> list[tuple[Part, Path]]:
    """Read all files and sections with work items.

    Return the parts in the order of their files, each with its directory.
    """
    runs = [_runs(assignment.numbers) for assignment in assignments]
    items = (
        WorkItem(
            f"{read.location.name}, {_span(shards[own[0][0]].label, shards[own[-1][-1]].label)}",
            replace(read, runs=tuple(tuple(shards[n] for n in run) for run in own)),
            wants_gpu=True,
            host=assignment.host,
        )
        for assignment, own in zip(assignments, runs, strict=True)
    )
    parts: dict[int, tuple[Part, Path]] = {}
    for result in executor.run(items, scratch):
        for number, (run, part) in enumerate(zip(runs[result.number], result.value, strict=True)):
            parts[run[0]] = part, result.directory / str(number)
    return [parts[first] for first in sorted(parts)]


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


def _runs(numbers: Iterable[int]) -> list[list[int]]:
    """Split ascending numbers of files into runs without gaps, because the files of a part must follow each other."""
    runs = groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    return [[number for _, number in run] for _, run in runs]


def _require_columns(
    settings: ReadSettings, shards: Sequence[Shard], location: Path, executor: Executor, scratch: Path
) -> ReadSettings:
    """Return the settings with the columns that every file must have. By default, they come from the first header.

    A host that has the first file reads its header.
    """
    if settings.schema is not None:
        return settings
    for number, shard in enumerate(shards):
        item = WorkItem("the header", partial(_header, location, shard), host=shard.hosts[0], coordinates=True)
        for result in executor.run([item], scratch / str(number)):
            if result.value is not None:
                schema, name = result.value
                return replace(settings, schema=schema, first_file=name)
    raise UserError(NO_HEADER)


def _header(location: Path, shard: Shard, directory: Path) -> tuple[FeatureSchema, str] | None:
    """Return the columns of a file and the name of the file for messages. None if all lines are blank."""
    try:
        return first_header([shard.source(location)])
    except UserError as error:
        if str(error) == NO_HEADER:
            return None
        raise
