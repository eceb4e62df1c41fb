"""Starts ``train`` and ``serve`` as plain processes. The module `local.docker` starts them in a container image."""

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

from multimodal_algo.core.errors import UserError

STOP_TRAINING_S = 120
STOP_SERVING_S = 30
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Program:
    """A running program of the algorithm, ``train`` or ``serve``.

    Parameters
    ----------
    process
        Process of the program, or docker's process that waits for the container. It ends with the program's exit code.
    address
        Returns the ``host:port`` of ``serve``, or None as long as the address is not known.
    kill
        Ends the program at once.
    """

    process: subprocess.Popen[bytes]
    address: Callable[[], str | None]
    kill: Callable[[], None]

    def stop(self, grace_s: float) -> None:
        """Stop the program as SageMaker does: SIGTERM first, and SIGKILL after `grace_s` seconds."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.kill()
                self.process.wait()


class Runner(Protocol):
    """Starts the programs ``train`` and ``serve`` on a directory that stands for ``/opt/ml``."""

    def start(self, program: str, base: Path, environment: Mapping[str, str], output: IO[bytes] | int) -> Program:
        """Start `program` with `base` in the place of ``/opt/ml``.

        Parameters
        ----------
        program
            ``train`` or ``serve``.
        base
            Directory that stands for ``/opt/ml``.
        environment
            Environment variables, in addition to those that the runner sets.
        output
            File for the program's standard output and standard error.
        """
        ...

    def take_over(self, base: Path) -> None:
        """Make this user the owner of all files that a program has written below `base`."""
        ...


@dataclass(frozen=True)
class ProcessRunner:
    """Starts the programs of this installation as plain processes.

    Parameters
    ----------
    command
        Command line to which ``train`` or ``serve`` is added.
    port
        Port of ``serve``. 0 means any free port.
    """

    command: Sequence[str] = (sys.executable, "-m", "multimodal_algo")
    port: int = 0

    def start(self, program: str, base: Path, environment: Mapping[str, str], output: IO[bytes] | int) -> Program:
        """Start a program as a process, see `Runner.start`.

        Raises
        ------
        UserError
            Another program uses the port.
        """
        port = str(_free_port(self.port))
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
        """Do nothing, because the programs run as this user and own the files anyway."""


def end_with_parent() -> Callable[[], object] | None:
    """Return a ``preexec_fn`` with which a new process gets SIGTERM when its parent is killed. None if not on Linux.

    Otherwise the process would run on, and a second job could use the same checkpoints at the same time.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            raise UserError(f"Another program has the port {wanted}. Choose another one, or 0 for any.") from None
        return int(probe.getsockname()[1])
