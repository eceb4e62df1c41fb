"""Work done here, one task after the other: the executor of a job on one host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from multimodal_algo.execution.protocol import Shared, WorkItem, WorkResult

T = TypeVar("T")

HERE = "here"
"""What the one host of a job is called."""


@dataclass(frozen=True, eq=False)
class _Here(Generic[T]):
    value: T

    def get(self) -> T:
        return self.value


class LocalExecutor:
    """See `work.Executor`; needs no Ray."""

    is_alone = True
    hosts = (HERE,)
    width = 1
    gpus = 0
    gpus_of_host = 0

    def run(self, tasks: Iterable[WorkItem], scratch: Path) -> Iterator[WorkResult]:
        """See `work.Executor.run`."""
        for number, task in enumerate(tasks):
            directory = scratch / str(number)
            directory.mkdir(parents=True)
            yield WorkResult(number, task.work(directory), directory)

    def share(self, value: T) -> Shared[T]:
        """See `work.Executor.share`."""
        return _Here(value)

    def ask_hosts(self, question: Callable[[], T]) -> dict[str, T]:
        """See `work.Executor.ask_hosts`."""
        return {HERE: question()}
