"""Starts ``train`` and ``serve`` as plain processes. `local.docker` starts them in a container image."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

STOP_TRAINING_S = 120
STOP_SERVING_S = 30
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Program:
    """A started program of the algorithm.

    Parameters
    ----------
    process
        Process of the program, or the client that waits for its container. It has the program's exit code.
    address
        Function that returns the ``host:port`` of ``serve``, and None while the address is not known.
    kill
        Function that ends the program at once.
    """

    process: subprocess.Popen[bytes]
    address: Callable[[], str | None]
    kill: Callable[[], None]

    def stop(self, grace_s: float) -> None:
        """Stop the program as the platform does: SIGTERM, and SIGKILL after `grace_s` seconds."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.kill()
                self.process.wait()


class Runner(Protocol):
    """Starter of the algorithm's programs, ``train`` and ``serve``, on an ``/opt/ml`` tree."""

    def start(self, program: str, base: Path, environment: Mapping[str, str], output: IO[bytes] | int) -> Program:
        """Start `program` on the tree below `base`.

        Parameters
        ----------
        program
            ``train`` or ``serve``.
        base
            Directory that stands for ``/opt/ml``.
        environment
            Environment variables, in addition to those that the runner sets.
        output
            Target of the standard output and the standard error.
        """
        ...

    def take_over(self, base: Path) -> None:
        """Make this user the owner of all files that a program has written below `base`."""
        ...


@dataclass(frozen=True)
class ProcessRunner:
    """Starter of this installation's own programs.

    Parameters
    ----------
    command
        Command line in front of ``train`` or ``serve``.
    """

    command: Sequence[str] = (sys.executable, "-m", "multimodal_algo")

    def start(self, program: str, base: Path, environment: Mapping[str, str], output: IO[bytes] | int) -> Program:
        """See `Runner.start`."""
        port = str(_free_port())
        own = {"SAGEMAKER_BASE_DIR": str(base), "PYTHONUNBUFFERED": "1"}
        if program == "serve":
            own["SAGEMAKER_BIND_TO_PORT"] = port
        # An own process group: an interrupt at the terminal reaches this process alone, which forwards SIGTERM.
        process = subprocess.Popen(
            [*self.command, program],
            env={**os.environ, **own, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent() if program == "train" else None,
        )
        return Program(process, lambda: f"127.0.0.1:{port}", process.kill)

    def take_over(self, base: Path) -> None:
        """Do nothing: the programs run as this user."""


def end_with_parent() -> Callable[[], object] | None:
    """Return a ``preexec_fn`` that sends SIGTERM to the new process when the thread that starts it is killed.

    Otherwise a second job with the same checkpoints could run while the first one still does. Returns None on systems
    without this feature.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
