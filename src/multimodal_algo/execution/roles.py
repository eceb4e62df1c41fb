"""What each host of a job does: the first one leads, the others lend themselves until it is done."""

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
# Of a host that has several GPUs and no others beside it.
_ALONE = "127.0.0.1"


class Lead:
    """The first host: from its making on the others are answered; `end` is called whatever happens.

    Parameters
    ----------
    hosts
        All of them.
    """

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._leader = Leader(hosts, PORT if hosts.others else 0)
        self._node: RayNode | None = None

    def executor(self, gpus: int, timeout_s: float) -> Executor:
        """Wait for the others and start Ray.

        Parameters
        ----------
        gpus
            GPUs of this host.
        timeout_s
            How long to wait for the others.

        Raises
        ------
        PlatformError
            Hosts did not come, or failed.
        """
        from multimodal_algo.execution.ray_executor import RayExecutor, find_nodes

        self._leader.gather(timeout_s)
        self._node = RayNode(self._hosts.first, self._leader.address or _ALONE, gpus, self._hosts.interface)
        head = self._node.start()
        connect(head, self._node)
        self._leader.invite(head)
        nodes = find_nodes(self._hosts.names, self._leader.require_all_well, timeout_s)
        told = [f"{host} {node.cpus} CPU" + (f" {node.gpus} GPU" if node.gpus else "") for host, node in nodes.items()]
        _LOG.info("hosts: %d train together: %s", len(nodes), ", ".join(told))
        return RayExecutor(nodes, self._look)

    def _look(self) -> None:
        self._leader.require_all_well()
        assert self._node is not None
        self._node.require_running()

    def end(self, cause: str | None) -> None:
        """Tell the others that the job has ended, with the cause if it failed, and stop Ray."""
        self._leader.end(cause)
        if self._node is not None:
            import ray

            ray.shutdown()
            self._node.stop()


def follow(hosts: Hosts, gpus: Callable[[], int], timeout_s: float, *, heard: Callable[[str | None], None]) -> None:
    """Lend this host, which is not the first one, to the job until it ends well.

    Parameters
    ----------
    hosts
        All of them.
    gpus
        GPUs of this host; a `PlatformError` of it fails the job.
    timeout_s
        How long to try to reach the first host.
    heard
        Called with the cause of the failure, or None where there is none, before the first host may end.

    Raises
    ------
    PlatformError
        The job has failed, here or elsewhere: the cause, as all hosts have it.
    Lost
        The first host is gone.
    """
    member = Member.join(hosts, timeout_s)
    _LOG.info("hosts: this is %s, of %s; %s leads", hosts.current, hosts.told(), hosts.first)
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
        heard(None)
    except PlatformError as error:
        heard(str(error))
        raise
    finally:
        member.close()
        if node is not None:
            node.stop()
    _LOG.info("hosts: the job is done")


def _watch(node: RayNode, member: Member) -> None:
    """Tell when Ray ends on this host."""
    try:
        while not node.wait(_LOOK_S):
            pass
        node.require_running()
    except PlatformError as error:
        member.fail(str(error))
