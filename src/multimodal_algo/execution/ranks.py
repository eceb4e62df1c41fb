"""The ranks of the processes that run one fit together, and how the processes find each other."""

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
    """The rank of one process of a fit. The executor starts the processes.

    Parameters
    ----------
    rank
        Number of the process. Process 0 has the predictor in the end.
    size
        Number of processes.
    address
        Name or IP address of the host of process 0.
    port
        Free port of that host. Each fit has another one.
    nodes
        Number of hosts. Each has the same number of processes, give or take one.
    """

    rank: int
    size: int
    address: str
    port: int
    nodes: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process has the predictor in the end."""
        return self.rank == 0

    @property
    def neighbours(self) -> int:
        """The most processes that its host may have, including this one."""
        return -(-self.size // self.nodes)

    def variables(self) -> dict[str, str]:
        """Return the environment variables that torchrun sets for a process on a host of its own.

        With them Lightning takes the process for one of several. It starts no processes, whatever GPUs it sees.
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
        """Set `variables` in ``os.environ``, and restore the values before after the block."""
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
    """Return a port of this host that is not in use."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
