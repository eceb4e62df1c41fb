"""The executor of a job on several hosts, or on one host with several GPUs. Ray distributes the work items to them."""

from __future__ import annotations

import logging
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from multimodal_algo.core.errors import AlgorithmError, PlatformError, UserError
from multimodal_algo.core.log import configure_logging
from multimodal_algo.core.memory import limit_autogluon_memory
from multimodal_algo.execution.files import read_files, write_files
from multimodal_algo.execution.link import Lost
from multimodal_algo.execution.protocol import Resources, Shared, WorkItem, WorkResult
from multimodal_algo.execution.ranks import Rank, free_port
from multimodal_algo.execution.ray_node import HOST, resource_of

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

# A work item is started again at most this many times, when its host was lost or it was killed for want of memory.
_RETRIES = 4
_LOOK_S = 1.0
# Ray notices after half a minute that a host is cut off.
_MISSED_S = 60
# The time that processes of one work item wait for free hosts before they look again how many there are.
_GROUP_S = 15


@dataclass(frozen=True)
class Node:
    """A host as Ray knows it: its identifier, and how many CPUs and GPUs work items may use there."""

    node_id: str
    cpus: int
    gpus: int


class WorkFailed(AlgorithmError):
    """A bug in a work item that ran on another host. The traceback is in the log."""


@dataclass(frozen=True)
class _Put(Generic[T]):
    """A `Shared` value that is stored in Ray's object store."""

    reference: ray.ObjectRef

    def get(self) -> T:
        return ray.get(self.reference)


@dataclass(frozen=True)
class _Failed:
    """The error of a work item, returned in place of its value. Ray would change the type of a raised exception."""

    kind: type[Exception]
    message: str
    details: str = ""


@dataclass(frozen=True)
class RayExecutor:
    """An `Executor` that runs work items on all hosts with Ray. A work item may use it to run more work items.

    Parameters
    ----------
    nodes
        The hosts by name. The host of Ray's driver, the process that leads the job, comes first.
    look
        Function that is called once a second while work items run. It raises an error to stop them. It is not pickled.
    """

    nodes: dict[str, Node]
    look: Callable[[], None] | None = field(default=None, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"nodes": self.nodes, "look": None}

    @property
    def _cpus(self) -> int:
        """CPUs that a work item gets: all CPUs of the smallest host."""
        return min(node.cpus for node in self.nodes.values())

    @property
    def resources(self) -> Resources:
        """The hosts, and how many work items they can run at a time. See `Executor.resources`."""
        nodes = self.nodes.values()
        return Resources(
            hosts=tuple(self.nodes),
            width=sum(node.cpus // self._cpus for node in nodes),
            gpus=sum(node.gpus for node in nodes),
            gpus_per_host=min((node.gpus for node in nodes if node.gpus), default=0),
        )

    def run(self, items: Iterable[WorkItem], scratch: Path) -> Iterator[WorkResult]:
        """Run the work items on all hosts at the same time, see `Executor.run`."""
        pending = {self._begin(item): (number, item) for number, item in enumerate(items)}
        try:
            while pending:
                ready, _ = ray.wait(list(pending), timeout=_LOOK_S)
                if self.look is not None:
                    self.look()
                for reference in ready:
                    number, item = pending.pop(reference)
                    value, files = self._result(reference, item)
                    directory = scratch / str(number)
                    write_files(files, directory)
                    del files
                    yield WorkResult(number, value, directory)
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)

    def share(self, value: T) -> Shared[T]:
        """Put a value into Ray's object store, where work items can read it. See `Executor.share`."""
        return _Put(ray.put(value))

    def ask_hosts(self, question: Callable[[], T]) -> dict[str, T]:
        """Call `question` on each host, see `Executor.ask_hosts`."""
        items = [
            WorkItem(f"a question to {host}", lambda directory: question(), host=host, coordinates=True)
            for host in self.nodes
        ]
        hosts = list(self.nodes)
        with tempfile.TemporaryDirectory() as scratch:
            answers = {hosts[result.number]: result.value for result in self.run(items, Path(scratch))}
        return {host: answers[host] for host in hosts}

    def _begin(self, item: WorkItem) -> ray.ObjectRef:
        if item.ranks > 1:
            return _do_together.options(name=item.name).remote(item, self)
        options: dict[str, Any] = {"name": item.name, "scheduling_strategy": "SPREAD", **self._needs(item)}
        if item.host is not None:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(self.nodes[item.host].node_id, soft=False)
        return _do.options(**options).remote(item)

    def _needs(self, item: WorkItem) -> dict[str, int]:
        if item.coordinates:
            return {"num_cpus": 0}
        if item.wants_gpu and (self.nodes[item.host].gpus if item.host else self.resources.gpus):
            return {"num_cpus": 0, "num_gpus": 1}
        return {"num_cpus": self._cpus}

    def do_together(self, item: WorkItem) -> Any:
        """Run a work item in several processes together, and return the result of the first process.

        If one of the processes is lost, all start again, with fewer processes if hosts are missing.
        """
        tries = 0
        while True:
            try:
                return self._try_together(item)
            except ray.exceptions.GetTimeoutError:
                continue  # other work items have the hosts, or there are fewer hosts than it seemed
            except ray.exceptions.RayError:
                tries += 1
                if tries > _RETRIES:
                    raise

    def _try_together(self, item: WorkItem) -> Any:
        needs = self._needs(item)
        resource, amount = ("GPU", 1) if "num_gpus" in needs else ("CPU", needs["num_cpus"])
        slots = [int(node["Resources"].get(resource, 0)) // amount for node in ray.nodes() if node["Alive"]]
        size = max(1, min(item.ranks, sum(slots)))
        hosts = max(1, min(size, sum(slot > 0 for slot in slots)))
        group = placement_group([{resource: amount}] * size, strategy="PACK")
        references: list[ray.ObjectRef] = []
        try:
            ray.get(group.ready(), timeout=_GROUP_S)
            at = [PlacementGroupSchedulingStrategy(group, bundle) for bundle in range(size)]
            address, port = ray.get(_address.options(scheduling_strategy=at[0]).remote())
            for number in range(size):
                rank = Rank(number, size, address, port, nodes=hosts)
                do = _do.options(name=item.name, max_retries=0, scheduling_strategy=at[number], **needs)
                references.append(do.remote(item, rank))
            return _first_of(references)
        finally:
            for reference in references:
                ray.cancel(reference, force=True)
            remove_placement_group(group)

    def _result(self, reference: ray.ObjectRef, item: WorkItem) -> tuple[Any, dict[str, np.ndarray]]:
        try:
            result, files = ray.get(reference)
        except (ray.exceptions.TaskUnschedulableError, ray.exceptions.ActorUnschedulableError):
            raise Lost(
                f"{item.host} was lost, and with it its share of the data ({item.name}). Start the job again with its "
                "checkpoints."
            ) from None
        except ray.exceptions.RayError as error:
            reason = str(error).strip().split("\n")[0]
            raise PlatformError(f"{item.name}: not done in {_RETRIES + 1} tries ({reason[:300]}).") from None
        if isinstance(result, _Failed):
            if result.details:
                _LOG.error("%s: %s", result.message, result.details)
            raise result.kind(result.message)
        return result, files


def _first_of(references: list[ray.ObjectRef]) -> Any:
    """Wait for processes that run a work item together.

    Return the result of the first process, or any process's error.
    """
    waiting = list(references)
    while True:
        (ready,), waiting = ray.wait(waiting)
        result = ray.get(ready)
        is_failure = isinstance(result[0], _Failed)
        if is_failure and result[0].kind is WorkFailed and waiting:
            # When one process is lost, another one may fail because of it, and its error may arrive first.
            lost, _ = ray.wait(waiting, num_returns=len(waiting), timeout=_MISSED_S)
            ray.get(lost)
        if ready == references[0] or is_failure:
            return result


@ray.remote(max_retries=_RETRIES, num_cpus=0)
def _do_together(item: WorkItem, executor: RayExecutor) -> Any:
    return executor.do_together(item)


@ray.remote(num_cpus=0)
def _address() -> tuple[str, int]:
    """Return the IP address of the host that this runs on, and a free port there."""
    return ray.util.get_node_ip_address(), free_port()


@ray.remote(max_retries=_RETRIES)
def _do(item: WorkItem, *rank: Rank) -> tuple[Any, dict[str, np.ndarray]]:
    """Run a work item. Return its value, or its error as `_Failed`, and the files that it wrote."""
    host = os.environ[HOST]
    configure_logging(host)
    limit_autogluon_memory()
    with tempfile.TemporaryDirectory(prefix="multimodal-work-") as scratch:
        directory = Path(scratch)
        try:
            value = item.work(directory, *rank)
        except (UserError, PlatformError) as error:
            return _Failed(type(error), str(error) if str(error).startswith(f"{host}: ") else f"{host}: {error}"), {}
        except Exception as error:
            message = f"{host}: {type(error).__name__}: {error}"
            return _Failed(WorkFailed, message, traceback.format_exc()), {}
        return value, read_files(directory)


def find_nodes(hosts: Iterable[str], look: Callable[[], None], timeout_s: float) -> dict[str, Node]:
    """Wait until all hosts have joined Ray, and return them by name.

    Parameters
    ----------
    hosts
        Names of the hosts, the host of this process first.
    look
        Function that is called once a second. It raises an error to end the wait.
    timeout_s
        Seconds to wait for all hosts.

    Raises
    ------
    PlatformError
        Ray did not start on some hosts in time.
    """
    wanted = list(hosts)
    deadline = time.monotonic() + timeout_s
    while True:
        look()
        alive = [node for node in ray.nodes() if node["Alive"]]
        known = {host: node for host in wanted for node in alive if resource_of(host) in node["Resources"]}
        if len(known) == len(wanted):
            return {
                host: Node(node["NodeID"], int(node["Resources"]["CPU"]), int(node["Resources"].get("GPU", 0)))
                for host, node in known.items()
            }
        if time.monotonic() > deadline:
            missing = ", ".join(host for host in wanted if host not in known)
            raise PlatformError(f"{missing}: Ray did not start there within {timeout_s:g} s.")
        time.sleep(_LOOK_S)
