"""Several processes that fit one model together: how many they are, and how they find each other."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Lightning sets this variable where it is not set.
_THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class Rank:
    """The place of one process among those that fit a model together.

    Parameters
    ----------
    rank
        Number of this process. Process 0 has the fitted model in the end.
    size
        Number of processes.
    address
        Name or IP address of the host of process 0.
    port
        Free port of that host, through which the processes find each other. Each fit has its own port.
    nodes
        Number of hosts. The processes are spread evenly over them.
    """

    rank: int
    size: int
    address: str
    port: int
    nodes: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is process 0, which has the fitted model in the end."""
        return self.rank == 0

    @property
    def neighbours(self) -> int:
        """The largest number of processes that this process's host may have, including this one."""
        return -(-self.size // self.nodes)

    def variables(self) -> dict[str, str]:
        """Return the environment variables that torchrun sets for a process that is alone on its host.

        With them, Lightning knows that this process is one of several, and starts no more processes, however many GPUs
        it sees.
        """
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.size),
            "LOCAL_RANK": "0",
            "LOCAL_WORLD_SIZE": "1",
            "GROUP_RANK": str(self.rank),
            "NODE_RANK": str(self.rank),
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(self.port),
            "TORCHELASTIC_RUN_ID": f"{self.address}:{self.port}",
            "TORCHELASTIC_USE_AGENT_STORE": "False",
        }

    @contextmanager
    def environment(self) -> Iterator[None]:
        """Set `variables` in ``os.environ`` while the block runs. Afterwards restore the former values."""
        variables = self.variables()
        before = {name: os.environ.get(name) for name in (*variables, _THREADS)}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def free_port() -> int:
    """Return a TCP port of this host that is not in use."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
