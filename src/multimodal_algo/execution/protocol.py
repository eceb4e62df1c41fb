"""Work items (parts of a job that any host can do), their results, and the interface of the executors that run them.

`LocalExecutor` runs work items in this process, one after the other. `RayExecutor` runs them on all hosts of a job.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from multimodal_algo.execution.files import read_files, write_files

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Shared(Protocol[T_co]):
    """A value that work items on every host can read. It is sent to each host only once."""

    def get(self) -> T_co:
        """Return the shared value. The caller must not change it."""
        ...


@dataclass(frozen=True)
class WorkItem:
    """A part of a job that any host can do, for example a fit of one branch or the reading of some files.

    Parameters
    ----------
    name
        Name for the log and for errors.
    work
        Function that gets an empty directory, may write files into it, and returns a small value. The function can be
        pickled, and may be started again from the beginning. It uses nothing but its own attributes.
    wants_gpu
        Whether the item should run on a host with a GPU, if the job has any.
    host
        The only host that can run the item. None if every host can.
    coordinates
        Whether the item only starts other work items and waits for them. Then it needs no CPU core.
    ranks
        Number of processes that run the item together. If there are several, `work` also gets a `Rank`, and only the
        value of the first process counts. If hosts are lost or too few, fewer processes run, but at least one.
    """

    name: str
    work: Callable[..., Any]
    wants_gpu: bool = False
    host: str | None = None
    coordinates: bool = False
    ranks: int = 1


@dataclass(frozen=True)
class WorkResult:
    """The value and the files that a work item has produced.

    Parameters
    ----------
    number
        Position of the item among the items of `Executor.run`.
    value
        Value that the item's function returned.
    directory
        Directory on this host with the files that the function wrote. The caller may move them.
    """

    number: int
    value: Any
    directory: Path


@dataclass(frozen=True)
class Resources:
    """The hosts of a job, and how many work items they can run at a time.

    Parameters
    ----------
    hosts
        Names of the hosts. The host of this process comes first.
    width
        Number of work items that run at the same time, of those that do not use a GPU.
    gpus
        Number of GPUs that work items may use, on all hosts together.
    gpus_per_host
        Number of GPUs of each host that has GPUs.
    in_process
        Whether this process runs all work items, so that they may hold objects that cannot be pickled.
    """

    hosts: tuple[str, ...]
    width: int = 1
    gpus: int = 0
    gpus_per_host: int = 0
    in_process: bool = False


class Executor(Protocol):
    """Runs work items, on one host or on several.

    A caller makes items and takes their results as they come::

        rows = executor.share(training_rows)
        items = [WorkItem(name, Fit(name, rows)) for name in names]
        for result in executor.run(items, scratch):
            print(names[result.number], result.value, result.directory)
    """

    @property
    def resources(self) -> Resources:
        """The hosts of the job, and how many work items they can run at a time."""
        ...

    def run(self, items: Iterable[WorkItem], scratch: Path) -> Iterator[WorkResult]:
        """Run all work items, and yield the result of each as soon as it is done, in any order.

        `LocalExecutor` starts the next item only when the caller has taken the result before. Other executors start all
        items at once.

        Parameters
        ----------
        items
            Work items.
        scratch
            Directory for the files of all items.

        Raises
        ------
        UserError, PlatformError
            An item has raised the error. On several hosts, the message begins with the host's name. Or a host was lost
            that was the only one able to run an item.
        """
        ...

    def share(self, value: T) -> Shared[T]:
        """Send a value to all hosts, so that work items can read it there."""
        ...

    def ask_hosts(self, question: Callable[[], T]) -> dict[str, T]:
        """Call `question` on each host. Return the answers by name of the host, this host first."""
        ...


@dataclass(frozen=True)
class Parallelism:
    """How a fit may split itself into work items: on which executor, and how many at a time.

    Parameters
    ----------
    executor
        Executor that runs the parts of the fit.
    at_once
        Number of parts that run at the same time.
    ranks
        Number of processes that run one part together.
    """

    executor: Executor
    at_once: int = 1
    ranks: int = 1


@dataclass(frozen=True)
class SentDirectory:
    """A directory that work items on every host can read, for example that of a network's files.

    Parameters
    ----------
    here
        The directory itself, if all work items run in this process. Otherwise None.
    files
        Bytes of each file, uint8, by path below the directory, if work items run in other processes. Otherwise None.
    """

    here: Path | None = None
    files: Shared[dict[str, np.ndarray]] | None = None

    @classmethod
    def send(cls, directory: Path, executor: Executor) -> SentDirectory:
        """Make the files of `directory` available to the work items of `executor`."""
        if executor.resources.in_process:
            return cls(here=directory)
        return cls(files=executor.share(read_files(directory)))

    def path(self) -> Path:
        """Return the path of the directory on this host. The first call in a process writes the files there."""
        return self.here or _written(self)


@lru_cache
def _written(sent: SentDirectory) -> Path:
    assert sent.files is not None
    root = Path(tempfile.mkdtemp(prefix="multimodal-sent-"))
    write_files(sent.files.get(), root)
    return root
