"""Starting ``train`` and ``serve``: as plain processes, or in a container image."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

STOP_TRAINING_S = 120
STOP_SERVING_S = 30


class Runner(Protocol):
    """Starts a program of the algorithm on a tree; its output goes to `output`, both streams together."""

    def start(
        self, program: str, base: Path, environment: Mapping[str, str], *, port: int | None, output: IO[bytes] | int
    ) -> subprocess.Popen[bytes]:
        """Start ``train`` (without `port`) or ``serve`` (on `port` of this machine)."""
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

    def start(
        self, program: str, base: Path, environment: Mapping[str, str], *, port: int | None, output: IO[bytes] | int
    ) -> subprocess.Popen[bytes]:
        """See `Runner.start`."""
        own = {"SAGEMAKER_BASE_DIR": str(base), "PYTHONUNBUFFERED": "1"}
        if port is not None:
            own["SAGEMAKER_BIND_TO_PORT"] = str(port)
        # An own process group: an interrupt at the terminal reaches us alone, and we pass on what the platform sends.
        return subprocess.Popen(
            [*self.command, program],
            env={**os.environ, **own, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@dataclass(frozen=True)
class DockerRunner:
    """Runs a container image as the platform does: ``docker run IMAGE train|serve`` with ``/opt/ml`` mounted."""

    image: str

    def command(self, program: str, base: Path, environment: Mapping[str, str], *, port: int | None) -> list[str]:
        """The ``docker run`` command line."""
        command = ["docker", "run", "--rm", "--init=false"]
        if port is None:
            command += ["--network", "none", "-v", f"{base}:/opt/ml"]
        else:
            command += ["-p", f"127.0.0.1:{port}:8080", "-v", f"{base / 'model'}:/opt/ml/model:ro"]
        for name, value in environment.items():
            command += ["-e", f"{name}={value}"]
        return [*command, self.image, program]

    def start(
        self, program: str, base: Path, environment: Mapping[str, str], *, port: int | None, output: IO[bytes] | int
    ) -> subprocess.Popen[bytes]:
        """See `Runner.start`. The client passes signals on to the container."""
        return subprocess.Popen(
            self.command(program, base, environment, port=port),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def runner_for(image: str | None) -> Runner:
    """A container runner for an image, else the process runner."""
    return DockerRunner(image) if image else ProcessRunner()


def stop(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """Stop as the platform does: SIGTERM, and SIGKILL after `grace_s` seconds."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
