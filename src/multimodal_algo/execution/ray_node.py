"""Starts and stops Ray's processes on one host."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from multimodal_algo.core.errors import PlatformError
from multimodal_algo.execution.ranks import free_port

_LOG = logging.getLogger(__name__)

HOST = "MULTIMODAL_HOST"
"""Environment variable with the name of the host that runs a work item."""
_START_S = 120
_LOOK_S = 0.2
# The end of the last line that the command logs when it has started.
_STARTED = b"will now block forever"
_QUIET = {
    "PYTHONUNBUFFERED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_DEDUP_LOGS": "0",
    "RAY_COLOR_PREFIX": "0",
    # Containers have little shared memory by default. This costs time and nothing else.
    "RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE": "1",
    # Work items that do not ask for a GPU see none. Otherwise their networks would take memory from those that do.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}


class RayNode:
    """Ray's processes on this host, which `start` starts and `stop` ends.

    Parameters
    ----------
    host
        Name of the host.
    address
        IP address at which the other hosts reach this host.
    gpus
        Number of GPUs that work items may use.
    interface
        Network interface to the other hosts, for example ``eth0``. None if it is not known.
    """

    def __init__(self, host: str, address: str, gpus: int, interface: str | None = None) -> None:
        self._host = host
        self._address = address
        self._gpus = gpus
        self._directory = Path(tempfile.mkdtemp(prefix="ray-"))
        self._process: subprocess.Popen[bytes] | None = None
        os.environ.update(_QUIET | {HOST: host})
        if interface and Path("/sys/class/net", interface).exists():
            # Processes that fit one network together communicate through it.
            os.environ.update({"NCCL_SOCKET_IFNAME": interface, "GLOO_SOCKET_IFNAME": interface})

    def start(self, head: str | None = None) -> str:
        """Start Ray on this host and return the address of Ray's head node.

        Parameters
        ----------
        head
            Address of the head node, if another host runs it. None makes this host the head node.
        """
        port = free_port()
        role = [f"--address={head}"] if head else ["--head", f"--port={port}", "--include-dashboard=false"]
        program = "from ray.scripts.scripts import main; main()"
        scratch = self._directory / "scratch"
        scratch.mkdir()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-c", program, "start", *role, "--block", "--disable-usage-stats",
                    f"--node-ip-address={self._address}", f"--temp-dir={self._directory}",
                    f"--num-cpus={len(os.sched_getaffinity(0))}", f"--num-gpus={self._gpus}",
                    f"--resources={json.dumps({resource_of(self._host): 1})}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                # Work items write here. Their processes are killed, so they cannot remove their files.
                env=os.environ | {"TMPDIR": str(scratch)},
                start_new_session=True,
            )  # fmt: skip
        return head or f"{self._address}:{port}"

    def require_running(self) -> None:
        """Raise an error if Ray's processes on this host have ended.

        Raises
        ------
        PlatformError
            The processes have ended. The message has the last line of their log.
        """
        if self._process is not None and (code := self._process.poll()) is not None:
            lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "the log is empty")
            raise PlatformError(f"Ray ended with exit code {code}: {last[:300]}")

    @property
    def is_whole(self) -> bool:
        """Whether all of Ray's processes on this host have started."""
        return _STARTED in self._log.read_bytes()

    def wait(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` seconds for the end of Ray's processes. Return whether they have ended."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
            return True
        return False

    def stop(self) -> None:
        """End Ray and the work items that it runs on this host, and remove Ray's temporary files."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def _log(self) -> Path:
        return self._directory / "start.log"


def resource_of(host: str) -> str:
    """Return the name of a Ray resource that only `host` has, so that Ray's node on this host can be found."""
    return f"host:{host}"


def connect(head: str, node: RayNode) -> None:
    """Connect this process to Ray as its driver, the process that starts work items.

    Parameters
    ----------
    head
        Address of Ray's head node.
    node
        Ray's processes on this host.

    Raises
    ------
    PlatformError
        Ray did not start on this host, or the head node cannot be reached.
    """
    import ray

    deadline = time.monotonic() + _START_S
    # Ray may end a process that connects while a node is starting, without an error that could be caught.
    while not node.is_whole:
        node.require_running()
        if time.monotonic() > deadline:
            raise PlatformError(f"Ray did not start in {_START_S} s.")
        time.sleep(_LOOK_S)
    try:
        ray.init(address=head, logging_level=logging.ERROR, log_to_driver=True, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise PlatformError(f"Ray's head at {head} cannot be reached ({error}).") from None
