"""The processes that do one fit together: who each of them is, and how they find each other."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Lightning sets it where it is not set.
_THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class Rank:
    """One process of a fit; all of them are started by someone else.

    Parameters
    ----------
    rank
        Its number; 0 is the one that has the predictor in the end.
    size
        How many processes there are.
    address
        Name or IP of the host of rank 0.
    port
        A free port of that host, another one for each fit.
    nodes
        How many hosts there are: as many processes on each, but for one.
    """

    rank: int
    size: int
    address: str
    port: int
    nodes: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is the one that has the predictor in the end."""
        return self.rank == 0

    @property
    def neighbours(self) -> int:
        """How many processes its host has at most, with itself."""
        return -(-self.size // self.nodes)

    def variables(self) -> dict[str, str]:
        """The environment of one that torchrun had started, on a host of its own.

        So Lightning takes the process for one of several and starts none, however many GPUs it sees, or none.
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
        """Have `variables` in ``os.environ``, and afterwards what was there before."""
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
    """A port of this host that nobody listens at now."""
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])
