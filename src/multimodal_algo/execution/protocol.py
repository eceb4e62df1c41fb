"""The execution protocol: work items, their results, and the executors that run them.

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
    """A value that work items on every host can get. It is brought to each host once."""

    def get(self) -> T_co:
        """Return the value. Nothing in it may be changed."""
        ...


@dataclass(frozen=True)
class WorkItem:
    """A piece of work that any host can run.

    Parameters
    ----------
    name
        Name for the log and for errors.
    work
        Function that gets an empty directory, leaves files in it, and returns a small value. It can be pickled, it may
        be started again from the beginning, and it reads nothing but its own attributes.
    wants_gpu
        Whether the item goes to hosts with a GPU, where there are any.
    host
        The only host that can run the item. None where any host can.
    coordinates
        Whether the item only waits for work items of its own, so that it takes no host's cores.
    ranks
        Number of processes that run the item together. With several of them `work` gets a `Rank` too, and the value of
        the first process counts. There may be fewer processes in the end, down to one, where hosts are lost or few.
    """

    name: str
    work: Callable[..., Any]
    wants_gpu: bool = False
    host: str | None = None
    coordinates: bool = False
    ranks: int = 1


@dataclass(frozen=True)
class WorkResult:
    """The result of a work item.

    Parameters
    ----------
    number
        Position of the item among those of the call.
    value
        Value that the work returned.
    directory
        Files of the work, on this host. The caller may move them.
    """

    number: int
    value: Any
    directory: Path


@dataclass(frozen=True)
class Resources:
    """The hosts of a job and what they have.

    Parameters
    ----------
    hosts
        Names of the hosts. The host that asks comes first.
    width
        Number of work items without a GPU that run at the same time.
    gpus
        Number of GPUs of all hosts that work items may use.
    gpus_per_host
        Number of GPUs of each host that has any.
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
        """The hosts and what they have."""
        ...

    def run(self, items: Iterable[WorkItem], scratch: Path) -> Iterator[WorkResult]:
        """Run all work items, and yield each result as soon as it is there, in any order.

        An executor of one process takes an item when the caller has taken the result of the item before. Others take
        all items at once.

        Parameters
        ----------
        items
            Work items.
        scratch
            Directory for their files.

        Raises
        ------
        UserError, PlatformError
            The error of the work, after the name of its host where there are several. Or a host was lost that alone
            could run an item.
        """
        ...

    def share(self, value: T) -> Shared[T]:
        """Make a value available to work items."""
        ...

    def ask_hosts(self, question: Callable[[], T]) -> dict[str, T]:
        """Return the answer of each host by its name. The host that asks comes first."""
        ...


@dataclass(frozen=True)
class Parallelism:
    """Permission to run parts of a fit as work items.

    Parameters
    ----------
    executor
        Executor of the parts.
    at_once
        Number of parts that run at the same time.
    ranks
        Number of processes that run each part together.
    """

    executor: Executor
    at_once: int = 1
    ranks: int = 1


@dataclass(frozen=True)
class SentDirectory:
    """A directory that work items can read on every host, for example that of a network.

    Parameters
    ----------
    here
        The directory itself, for work items of this process.
    files
        Bytes of each file by its path below the directory, uint8, for work items of other processes.
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
        """Return the directory on this host. Each process writes the files once."""
        return self.here or _written(self)


@lru_cache
def _written(sent: SentDirectory) -> Path:
    assert sent.files is not None
    root = Path(tempfile.mkdtemp(prefix="multimodal-sent-"))
    write_files(sent.files.get(), root)
    return root
