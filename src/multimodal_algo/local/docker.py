"""Starts ``train`` and ``serve`` in a container image, with the same isolation as on SageMaker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from multimodal_algo.core.errors import UserError
from multimodal_algo.local.runner import Program, end_with_parent

# A network without a way out. On Linux, this machine still reaches the containers in it.
_NETWORK = "multimodal-isolated"
_PORT = 8080


@dataclass(frozen=True)
class DockerRunner:
    """Starts programs in a container image as SageMaker does: ``docker run IMAGE train|serve``, without a network.

    For training, all directories of the job are mounted below ``/opt/ml``. For serving, only the model is mounted, and
    it is read-only, like the whole root file system. ``/tmp`` is then in memory.

    Parameters
    ----------
    image
        Name of the image.
    memory
        Memory limit of the container in docker's notation, for example ``8g``. None means no limit.
    """

    image: str
    memory: str | None = None

    def command(self, program: str, base: Path, environment: Mapping[str, str], name: str) -> list[str]:
        """Return the command line of ``docker run`` that starts a program in a container called `name`."""
        command = ["docker", "run", "--rm", "--init=false", "--name", name]
        if self.memory is not None:
            command += ["--memory", self.memory, "--memory-swap", self.memory]
        if program == "train":
            command += ["--network", "none", *_mounts(base, "/opt/ml")]
        else:
            command += ["-v", f"{base / 'model'}:/opt/ml/model:ro", "--read-only", "--tmpfs", "/tmp"]
            # On other systems docker runs in a virtual machine. Only published ports can be reached there.
            command += ["--network", _NETWORK] if _reaches_containers() else ["-p", f"127.0.0.1::{_PORT}"]
        for variable, value in environment.items():
            command += ["-e", f"{variable}={value}"]
        return [*command, self.image, program]

    def start(self, program: str, base: Path, environment: Mapping[str, str], output: IO[bytes] | int) -> Program:
        """Start a program in a container, see `Runner.start`. Docker's client forwards SIGTERM to the container.

        Raises
        ------
        UserError
            Docker is not running, or the image does not exist.
        """
        self._check()
        if program == "serve" and _reaches_containers():
            _make_network()
        name = f"multimodal-{program}-{uuid.uuid4().hex[:12]}"
        process = subprocess.Popen(
            self.command(program, base, environment, name),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent() if program == "train" else None,
        )
        return Program(process, lambda: _address(name), lambda: _kill(name))

    def take_over(self, base: Path) -> None:
        """Make this user the owner of the job's files. In the container, programs run as root, as on SageMaker."""
        if os.geteuid() != 0:
            owner = f"{os.geteuid()}:{os.getegid()}"
            options = ["--rm", "--network", "none", *_mounts(base, "/tree"), "--entrypoint", "chown"]
            _docker("run", *options, self.image, "-R", owner, "/tree")

    def _check(self) -> None:
        try:
            _docker("version")
        except FileNotFoundError:
            raise UserError("Docker is not installed. Install an engine (Debian: apt-get install docker.io).") from None
        except subprocess.CalledProcessError:
            raise UserError("No docker engine answers. Start it (systemctl start docker, or dockerd).") from None
        try:
            _docker("image", "inspect", self.image)
        except subprocess.CalledProcessError:
            raise UserError(
                f"The image '{self.image}' does not exist on this machine. `make images` builds it."
            ) from None


def _mounts(base: Path, target: str) -> list[str]:
    """Return docker's options that mount each directory in `base` below `target`.

    Links to directories are resolved here, because what they point to does not exist in the container.
    """
    return [word for path in sorted(base.iterdir()) for word in ("-v", f"{path.resolve()}:{target}/{path.name}")]


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def _reaches_containers() -> bool:
    return sys.platform == "linux"


def _make_network() -> None:
    try:
        _docker("network", "inspect", _NETWORK)
    except subprocess.CalledProcessError:
        _docker("network", "create", "--internal", _NETWORK)


def _address(name: str) -> str | None:
    try:
        settings = json.loads(_docker("container", "inspect", name))[0]["NetworkSettings"]
    except subprocess.CalledProcessError:
        return None
    if _reaches_containers():
        ip = settings["Networks"][_NETWORK]["IPAddress"]
        return f"{ip}:{_PORT}" if ip else None
    published = (settings["Ports"] or {}).get(f"{_PORT}/tcp")
    return f"127.0.0.1:{published[0]['HostPort']}" if published else None


def _kill(name: str) -> None:
    subprocess.run(["docker", "kill", name], check=False, capture_output=True)
