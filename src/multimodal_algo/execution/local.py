"""The executor of a job on one host. This process runs the work items (parts of the job) one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from multimodal_algo.execution.protocol import Resources, Shared, WorkItem, WorkResult

T = TypeVar("T")

HERE = "here"
"""The name of the only host of a job."""


@dataclass(frozen=True, eq=False)
class _Here(Generic[T]):
    value: T

    def get(self) -> T:
        return self.value


class LocalExecutor:
    """An `Executor` that runs work items in this process, without Ray."""

    # Networks take the GPU of this process by themselves, so no work item has to ask for one.
    resources = Resources((HERE,), in_process=True)

    def run(self, items: Iterable[WorkItem], scratch: Path) -> Iterator[WorkResult]:
        """Run the work items one after the other, see `Executor.run`."""
        for number, item in enumerate(items):
            directory = scratch / str(number)
            directory.mkdir(parents=True)
            yield WorkResult(number, item.work(directory), directory)

    def share(self, value: T) -> Shared[T]:
        """Make a value available to work items, see `Executor.share`."""
        return _Here(value)

    def ask_hosts(self, question: Callable[[], T]) -> dict[str, T]:
        """Answer `question` for this host alone, see `Executor.ask_hosts`."""
        return {HERE: question()}
