"""The roles of a job's hosts: the first host leads, and the other hosts run work items until the job ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from multimodal_algo.core.errors import PlatformError
from multimodal_algo.execution.hosts import Hosts
from multimodal_algo.execution.link import PORT, Leader, Member
from multimodal_algo.execution.ray_node import RayNode, connect

if TYPE_CHECKING:
    from multimodal_algo.execution.protocol import Executor

_LOG = logging.getLogger(__name__)

_LOOK_S = 1.0
# Address of a host with several GPUs that is the only one of its job.
_ALONE = "127.0.0.1"


class Lead:
    """The role of the first host. It accepts connections of the other hosts from its creation on.

    The caller must call `end`, whatever happens.

    Parameters
    ----------
    hosts
        Hosts of the job.
    """

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._leader = Leader(hosts, PORT if hosts.others else 0)
        self._node: RayNode | None = None

    def executor(self, gpus: int, timeout_s: float) -> Executor:
        """Wait for the other hosts, start Ray, and return an executor that runs work items on all hosts.

        Parameters
        ----------
        gpus
            Number of GPUs of this host.
        timeout_s
            Seconds to wait for the other hosts.

        Raises
        ------
        PlatformError
            A host did not connect, or reported a failure.
        """
        self._leader.gather(timeout_s)
        self._node = RayNode(self._hosts.first, self._leader.address or _ALONE, gpus, self._hosts.interface)
        # It imports Ray, which reads the variables that the node has set only then.
        from multimodal_algo.execution.ray_executor import RayExecutor, find_nodes

        head = self._node.start()
        connect(head, self._node)
        self._leader.invite(head)
        nodes = find_nodes(self._hosts.names, self._leader.require_all_well, timeout_s)
        sizes = [f"{host} {node.cpus} CPU" + (f" {node.gpus} GPU" if node.gpus else "") for host, node in nodes.items()]
        _LOG.info("hosts: %d train together: %s", len(nodes), ", ".join(sizes))
        return RayExecutor(nodes, self._look)

    def _look(self) -> None:
        self._leader.require_all_well()
        assert self._node is not None
        self._node.require_running()

    def end(self, cause: str | None) -> None:
        """Report the end of the job to the other hosts, and stop Ray. `cause` is the reason if the job failed."""
        self._leader.end(cause)
        if self._node is not None:
            import ray

            ray.shutdown()
            self._node.stop()


def follow(hosts: Hosts, gpus: Callable[[], int], timeout_s: float, *, on_end: Callable[[str | None], None]) -> None:
    """Let this host, which is not the first one, run work items until the job succeeds.

    Parameters
    ----------
    hosts
        Hosts of the job.
    gpus
        Function that returns the number of GPUs of this host. If it raises a `PlatformError`, the job fails.
    timeout_s
        Seconds in which the first host must be reached.
    on_end
        Function that is called at the end, while the first host still waits. It gets the cause of a failure, or None.

    Raises
    ------
    PlatformError
        The job has failed, here or on another host. Every host raises it with the same cause.
    Lost
        The first host has disappeared.
    """
    member = Member.join(hosts, timeout_s)
    _LOG.info("hosts: this is %s, of %s. %s leads", hosts.current, hosts.summary(), hosts.first)
    node = None
    try:
        try:
            node = RayNode(hosts.current, member.address, gpus(), hosts.interface)
        except PlatformError as error:
            member.fail(str(error))
        head = member.invitation()
        if head is not None:
            if node is not None:
                node.start(head)
                threading.Thread(target=_watch, args=(node, member), name="watch-ray", daemon=True).start()
            member.wait_for_end()
        on_end(None)
    except PlatformError as error:
        on_end(str(error))
        raise
    finally:
        member.close()
        if node is not None:
            node.stop()
    _LOG.info("hosts: the job has ended")


def _watch(node: RayNode, member: Member) -> None:
    """Wait for the end of Ray on this host, and report it to the first host."""
    try:
        while not node.wait(_LOOK_S):
            pass
        node.require_running()
    except PlatformError as error:
        member.fail(str(error))
