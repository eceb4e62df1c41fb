"""Starting ``train`` and ``serve`` as plain processes; `local.docker` starts them in an image."""

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
        It, or the client that waits for its container; ends with its exit code.
    address
        ``host:port`` where ``serve`` answers; None while that is not known yet.
    kill
        Ends it at once.
    """

    process: subprocess.Popen[bytes]
    address: Callable[[], str | None]
    kill: Callable[[], None]

    def stop(self, grace_s: float) -> None:
        """Stop as the platform does: SIGTERM, and SIGKILL after `grace_s` seconds."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.kill()
                self.process.wait()


class Runner(Protocol):
    """Starts a program of the algorithm, ``train`` or ``serve``, on a tree.

    Its output goes to `output`, both streams together.
    """

    def start(self, program: str, base: Path, environment: Mapping[str, str], output: IO[bytes] | int) -> Program:
        """Start `program` on the tree below `base`, with `environment` beside what the runner sets."""
        ...

    def take_over(self, base: Path) -> None:
        """Make this user the owner of what a program has written below `base`."""
        ...


@dataclass(frozen=True)
class ProcessRunner:
    """Runs this installation's own programs.

    Parameters
    ----------
    command
        What comes before ``train`` or ``serve``.
    """

    command: Sequence[str] = (sys.executable, "-m", "multimodal_algo")

    def start(self, program: str, base: Path, environment: Mapping[str, str], output: IO[bytes] | int) -> Program:
        """See `Runner.start`."""
        port = str(_free_port())
        own = {"SAGEMAKER_BASE_DIR": str(base), "PYTHONUNBUFFERED": "1"}
        if program == "serve":
            own["SAGEMAKER_BIND_TO_PORT"] = port
        # An own process group: an interrupt at the terminal reaches us alone, and we pass on what the platform sends.
        process = subprocess.Popen(
            [*self.command, program],
            env={**os.environ, **own, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=ended_with_us() if program == "train" else None,
        )
        return Program(process, lambda: f"127.0.0.1:{port}", process.kill)

    def take_over(self, base: Path) -> None:
        """Nothing to do: the programs run as this user."""


def ended_with_us() -> Callable[[], object] | None:
    """What makes a new process get SIGTERM when the thread that starts it is killed; None where that cannot be had.

    A second job with the same checkpoints would else meet the first one, still at work. For ``preexec_fn``.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
