"""Work done on all hosts of a job, dealt out by Ray."""

from __future__ import annotations

import logging
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from multimodal_algo.core.errors import AlgorithmError, PlatformError, UserError
from multimodal_algo.core.files import read_files, write_files
from multimodal_algo.core.log import configure_logging
from multimodal_algo.core.memory import limit_autogluon_memory
from multimodal_algo.execution.link import Lost
from multimodal_algo.execution.protocol import Shared, WorkItem, WorkResult
from multimodal_algo.execution.ranks import Rank, free_port
from multimodal_algo.execution.ray_node import HOST, resource_of

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

# A task whose host is lost is done again so often; one that is killed for want of memory, too.
_RETRIES = 4
_LOOK_S = 1.0
# Ray misses a host that is gone without a word after half a minute.
_MISSED_S = 60
_PLACES_S = 15


@dataclass(frozen=True)
class Node:
    """A host as Ray knows it."""

    node_id: str
    cpus: int
    gpus: int


class WorkFailed(AlgorithmError):
    """A bug that showed on another host; its traceback is in the log."""


@dataclass(frozen=True)
class _Put(Generic[T]):
    """A value in Ray's object store."""

    reference: ray.ObjectRef

    def get(self) -> T:
        return ray.get(self.reference)


@dataclass(frozen=True)
class _Failed:
    """What came of a task instead of its value. An exception would arrive as one of Ray's."""

    kind: type[Exception]
    message: str
    details: str = ""


@dataclass(frozen=True)
class RayExecutor:
    """See `work.Executor`; the process is Ray's driver, or does work of Ray's.

    Parameters
    ----------
    nodes
        Each host, that of the driver first.
    look
        Called once a second while work goes on; raises when it is to end. It stays in the process that made it.
    """

    nodes: dict[str, Node]
    look: Callable[[], None] | None = field(default=None, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"nodes": self.nodes, "look": None}

    @property
    def _cpus(self) -> int:
        """CPUs of a task: all of the smallest host."""
        return min(node.cpus for node in self.nodes.values())

    is_alone: ClassVar[bool] = False

    @property
    def hosts(self) -> tuple[str, ...]:
        """See `work.Executor.hosts`."""
        return tuple(self.nodes)

    @property
    def width(self) -> int:
        """See `work.Executor.width`."""
        return sum(node.cpus // self._cpus for node in self.nodes.values())

    @property
    def gpus(self) -> int:
        """See `work.Executor.gpus`."""
        return sum(node.gpus for node in self.nodes.values())

    @property
    def gpus_of_host(self) -> int:
        """See `work.Executor.gpus_of_host`."""
        return min((node.gpus for node in self.nodes.values() if node.gpus), default=0)

    def run(self, tasks: Iterable[WorkItem], scratch: Path) -> Iterator[WorkResult]:
        """See `work.Executor.run`."""
        pending = {self._begin(task): (number, task) for number, task in enumerate(tasks)}
        try:
            while pending:
                ready, _ = ray.wait(list(pending), timeout=_LOOK_S)
                if self.look is not None:
                    self.look()
                for reference in ready:
                    number, task = pending.pop(reference)
                    value, files = self._result(reference, task)
                    directory = scratch / str(number)
                    write_files(files, directory)
                    del files
                    yield WorkResult(number, value, directory)
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)

    def share(self, value: T) -> Shared[T]:
        """See `work.Executor.share`."""
        return _Put(ray.put(value))

    def ask_hosts(self, question: Callable[[], T]) -> dict[str, T]:
        """See `work.Executor.ask_hosts`."""
        tasks = [
            WorkItem(f"a question to {host}", lambda directory: question(), host=host, coordinates=True)
            for host in self.nodes
        ]
        hosts = list(self.nodes)
        with tempfile.TemporaryDirectory() as scratch:
            answers = {hosts[done.number]: done.value for done in self.run(tasks, Path(scratch))}
        return {host: answers[host] for host in hosts}

    def _begin(self, task: WorkItem) -> ray.ObjectRef:
        if task.ranks > 1:
            return _do_together.options(name=task.name).remote(task, self)
        options: dict[str, Any] = {"name": task.name, "scheduling_strategy": "SPREAD", **self._needs(task)}
        if task.host is not None:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(self.nodes[task.host].node_id, soft=False)
        return _do.options(**options).remote(task)

    def _needs(self, task: WorkItem) -> dict[str, int]:
        if task.coordinates:
            return {"num_cpus": 0}
        if task.wants_gpu and (self.nodes[task.host].gpus if task.host else self.gpus):
            return {"num_cpus": 0, "num_gpus": 1}
        return {"num_cpus": self._cpus}

    def do_together(self, task: WorkItem) -> Any:
        """What the first of several processes says of a task that they do together.

        Where one of them is lost, all begin again, with fewer if need be.
        """
        needs = self._needs(task)
        resource, amount = ("GPU", 1) if "num_gpus" in needs else ("CPU", needs["num_cpus"])
        tries = 0
        while True:
            places = [int(node["Resources"].get(resource, 0)) // amount for node in ray.nodes() if node["Alive"]]
            bundles = max(1, min(task.ranks, sum(places)))
            hosts = max(1, min(bundles, sum(place > 0 for place in places)))
            group = placement_group([{resource: amount}] * bundles, strategy="PACK")
            references: list[ray.ObjectRef] = []
            try:
                ray.get(group.ready(), timeout=_PLACES_S)
                at = [PlacementGroupSchedulingStrategy(group, bundle) for bundle in range(bundles)]
                address, port = ray.get(_place.options(scheduling_strategy=at[0]).remote())
                ranks = [Rank(n, bundles, address, port, nodes=hosts) for n in range(bundles)]
                references = [
                    _do.options(name=task.name, max_retries=0, scheduling_strategy=at[rank.rank], **needs).remote(
                        task, rank
                    )
                    for rank in ranks
                ]
                waiting = list(references)
                while waiting:
                    (ready,), waiting = ray.wait(waiting)
                    found = ray.get(ready)
                    if isinstance(found[0], _Failed) and found[0].kind is WorkFailed:
                        # Where one is lost, another may fail for that, and be heard of first.
                        gone, _ = (
                            ray.wait(waiting, num_returns=len(waiting), timeout=_MISSED_S) if waiting else ([], [])
                        )
                        ray.get(gone)
                    if ready == references[0] or isinstance(found[0], _Failed):
                        return found
            except ray.exceptions.GetTimeoutError:
                continue  # others are at work, or there are fewer places than it seemed
            except ray.exceptions.RayError:
                tries += 1
                if tries > _RETRIES:
                    raise
            finally:
                for reference in references:
                    ray.cancel(reference, force=True)
                remove_placement_group(group)

    def _result(self, reference: ray.ObjectRef, task: WorkItem) -> tuple[Any, dict[str, np.ndarray]]:
        try:
            result, files = ray.get(reference)
        except (ray.exceptions.TaskUnschedulableError, ray.exceptions.ActorUnschedulableError):
            raise Lost(
                f"{task.host} was lost, and with it its share of the data ({task.name}). Start the job again with its "
                "checkpoints."
            ) from None
        except ray.exceptions.RayError as error:
            reason = str(error).strip().split("\n")[0]
            raise PlatformError(f"{task.name}: not done in {_RETRIES + 1} tries ({reason[:300]}).") from None
        if isinstance(result, _Failed):
            if result.details:
                _LOG.error("%s: %s", result.message, result.details)
            raise result.kind(result.message)
        return result, files


@ray.remote(max_retries=_RETRIES, num_cpus=0)
def _do_together(task: WorkItem, executor: RayExecutor) -> Any:
    return executor.do_together(task)


@ray.remote(num_cpus=0)
def _place() -> tuple[str, int]:
    """The address of a host, and a free port of it."""
    return ray.util.get_node_ip_address(), free_port()


@ray.remote(max_retries=_RETRIES)
def _do(task: WorkItem, *rank: Rank) -> tuple[Any, dict[str, np.ndarray]]:
    """The value of a task, or what it failed of, and its files."""
    host = os.environ[HOST]
    configure_logging(host)
    limit_autogluon_memory()
    with tempfile.TemporaryDirectory(prefix="multimodal-work-") as scratch:
        directory = Path(scratch)
        try:
            value = task.work(directory, *rank)
        except (UserError, PlatformError) as error:
            return _Failed(type(error), str(error) if str(error).startswith(f"{host}: ") else f"{host}: {error}"), {}
        except Exception as error:
            told = f"{host}: {type(error).__name__}: {error}"
            return _Failed(WorkFailed, told, traceback.format_exc()), {}
        return value, read_files(directory)


def find_nodes(hosts: Iterable[str], look: Callable[[], None], timeout_s: float) -> dict[str, Node]:
    """The hosts as Ray knows them, when all are there.

    Parameters
    ----------
    hosts
        Their names, that of this process first.
    look
        Called once a second; raises when it is to end.
    timeout_s
        How long to wait for all.

    Raises
    ------
    PlatformError
        Some are not there in time.
    """
    wanted = list(hosts)
    deadline = time.monotonic() + timeout_s
    while True:
        look()
        alive = [node for node in ray.nodes() if node["Alive"]]
        found = {host: node for host in wanted for node in alive if resource_of(host) in node["Resources"]}
        if len(found) == len(wanted):
            return {
                host: Node(node["NodeID"], int(node["Resources"]["CPU"]), int(node["Resources"].get("GPU", 0)))
                for host, node in found.items()
            }
        if time.monotonic() > deadline:
            missing = ", ".join(host for host in wanted if host not in found)
            raise PlatformError(f"{missing}: Ray did not start there within {timeout_s:g} s.")
        time.sleep(_LOOK_S)
