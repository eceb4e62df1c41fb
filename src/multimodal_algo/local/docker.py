"""Starts ``train`` and ``serve`` in a container image, isolated as the platform isolates them."""

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
    """A container image, run as the platform runs it: ``docker run IMAGE train|serve``, without a network.

    For training, the tree is mounted below ``/opt/ml``. For serving, the model alone is mounted, read-only. The root
    file system is read-only then, and ``/tmp`` is in memory.

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
        """Return the ``docker run`` command line of a container called `name`."""
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
        """See `Runner.start`. The docker client forwards SIGTERM to the container.

        Raises
        ------
        UserError
            No docker engine answers, or the image does not exist.
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
        """Make this user the owner of the files: programs run as root, as on the platform."""
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
    """Return the options that mount each directory of a tree below `target`.

    A link to a directory is resolved here, because its target does not exist in the container.
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
