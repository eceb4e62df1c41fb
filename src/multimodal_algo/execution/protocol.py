"""Work that may be done by another process, on another host: what is asked for, and what comes back.

``training.executor`` does it here, one piece after the other; ``cluster.executor`` on all hosts of a job, by Ray.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from multimodal_algo.core.files import read_files, write_files

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Shared(Protocol[T_co]):
    """A value that work on every host can get; it is brought there once."""

    def get(self) -> T_co:
        """The value; nothing in it may be changed."""
        ...


@dataclass(frozen=True)
class WorkItem:
    """A piece of work.

    Parameters
    ----------
    name
        What the log and errors call it.
    work
        Gets an empty directory, leaves files in it, and returns what is small. It can be pickled, may be done again
        from the beginning, and reads nothing but what it holds.
    wants_gpu
        Whether it is for hosts with a GPU, where there are any.
    host
        The one host that can do it; None where any can.
    coordinates
        Whether it only waits for tasks of its own, so that it takes no host's place.
    ranks
        How many processes do it together. With more than one `work` gets its `Rank` too, and what the first returns
        counts. There may be fewer in the end, where hosts are lost.
    """

    name: str
    work: Callable[..., Any]
    wants_gpu: bool = False
    host: str | None = None
    coordinates: bool = False
    ranks: int = 1


@dataclass(frozen=True)
class WorkResult:
    """A task that was done.

    Parameters
    ----------
    number
        Place of the task among those of the call.
    value
        What its work returned.
    directory
        Its files, on this host; whoever gets them may move them.
    """

    number: int
    value: Any
    directory: Path


class Executor(Protocol):
    """Does work, on one host or on several."""

    @property
    def is_alone(self) -> bool:
        """Whether all is done by this process, one task after the other."""
        ...

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts' names, the one that asks first."""
        ...

    @property
    def width(self) -> int:
        """How many tasks without a GPU are done at the same time."""
        ...

    @property
    def gpus(self) -> int:
        """GPUs of all hosts."""
        ...

    @property
    def gpus_of_host(self) -> int:
        """GPUs of each host that has any."""
        ...

    def run(self, tasks: Iterable[WorkItem], scratch: Path) -> Iterator[WorkResult]:
        """Do all tasks and give each as it gets done, in whatever order.

        Where only one is done at a time, a task is asked for when the one before is done and taken.

        Parameters
        ----------
        tasks
            What is to be done.
        scratch
            Directory for their files.

        Raises
        ------
        UserError, PlatformError
            As the work raised them, after the name of its host where there are several; or a host was lost that alone
            could do a task.
        """
        ...

    def share(self, value: T) -> Shared[T]:
        """Make a value known to the work of tasks."""
        ...

    def ask_hosts(self, question: Callable[[], T]) -> dict[str, T]:
        """What each host answers, by its name; the one that asks comes first."""
        ...


@dataclass(frozen=True)
class Parallelism:
    """Leave to do parts of a fit on several hosts.

    Parameters
    ----------
    executor
        Does them.
    at_once
        How many of them at the same time.
    ranks
        How many processes do each.
    """

    executor: Executor
    at_once: int = 1
    ranks: int = 1


@dataclass(frozen=True)
class SentDirectory:
    """A directory, such as a network's, as work has it on whatever host.

    Parameters
    ----------
    files
        Content of each file by its path below the directory.
    """

    files: Shared[dict[str, np.ndarray]]

    @classmethod
    def send(cls, directory: Path, executor: Executor) -> SentDirectory:
        """Make the files of `directory` known."""
        return cls(executor.share(read_files(directory)))

    def path(self) -> Path:
        """Where the files are on this host, written once a process."""
        return _written(self)


@lru_cache
def _written(sent: SentDirectory) -> Path:
    root = Path(tempfile.mkdtemp(prefix="multimodal-sent-"))
    write_files(sent.files.get(), root)
    return root
