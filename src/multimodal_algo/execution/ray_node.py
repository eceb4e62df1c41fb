"""The processes of Ray on one host."""

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
"""Environment variable by which work knows the name of the host that does it."""
_START_S = 120
_LOOK_S = 0.2
# What the command says last before it only waits.
_STARTED = b"will now block forever"
_QUIET = {
    "PYTHONUNBUFFERED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_DEDUP_LOGS": "0",
    "RAY_COLOR_PREFIX": "0",
    # Small shared memory, as containers have by default, costs time and nothing else.
    "RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE": "1",
    # Tasks that want no GPU see none, so that networks of theirs do not crowd those that do.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}


class RayNode:
    """Ray on this host, from `start` to `stop`.

    Parameters
    ----------
    host
        Its name.
    address
        Its IP address, by which the others reach it.
    gpus
        GPUs that work may use.
    interface
        The network interface to the others, where it is known.
    """

    def __init__(self, host: str, address: str, gpus: int, interface: str | None = None) -> None:
        self._host = host
        self._address = address
        self._gpus = gpus
        self._directory = Path(tempfile.mkdtemp(prefix="ray-"))
        self._process: subprocess.Popen[bytes] | None = None
        os.environ.update(_QUIET | {HOST: host})
        if interface and Path("/sys/class/net", interface).exists():
            # For processes that fit one network together.
            os.environ.update({"NCCL_SOCKET_IFNAME": interface, "GLOO_SOCKET_IFNAME": interface})

    def start(self, head: str | None = None) -> str:
        """Start it.

        Parameters
        ----------
        head
            Where its head is; None makes this one the head.

        Returns
        -------
        str
            Where the head is.

        Raises
        ------
        PlatformError
            It does not start.
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
                # Where work writes; its processes are killed, and so do not tidy up.
                env=os.environ | {"TMPDIR": str(scratch)},
                start_new_session=True,
            )  # fmt: skip
        return head or f"{self._address}:{port}"

    def require_running(self) -> None:
        """See whether its processes live.

        Raises
        ------
        PlatformError
            They ended; it has the last line of their log.
        """
        if self._process is not None and (code := self._process.poll()) is not None:
            lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "no word")
            raise PlatformError(f"Ray ended with exit code {code}: {last[:300]}")

    @property
    def is_whole(self) -> bool:
        """Whether all of its processes have started."""
        return _STARTED in self._log.read_bytes()

    def wait(self, timeout_s: float) -> bool:
        """Whether its processes ended within `timeout_s` seconds."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
            return True
        return False

    def stop(self) -> None:
        """End its processes; those that do work end with them, and what they wrote is removed."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def _log(self) -> Path:
        return self._directory / "start.log"


def resource_of(host: str) -> str:
    """The resource that only Ray's node on `host` has."""
    return f"host:{host}"


def connect(head: str, node: RayNode) -> None:
    """Make this process the driver of the cluster whose head is at `head`.

    Raises
    ------
    PlatformError
        It cannot be reached.
    """
    import ray

    deadline = time.monotonic() + _START_S
    # A process that meets half of a node may be ended by Ray, with no error to catch.
    while not node.is_whole:
        node.require_running()
        if time.monotonic() > deadline:
            raise PlatformError(f"Ray did not start in {_START_S} s.")
        time.sleep(_LOOK_S)
    try:
        ray.init(address=head, logging_level=logging.ERROR, log_to_driver=True, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise PlatformError(f"Ray's head at {head} cannot be reached ({error}).") from None
