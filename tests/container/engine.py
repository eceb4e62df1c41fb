"""Commands of the docker engine."""

from __future__ import annotations

import json
import subprocess
from typing import Any

TRAINING = "multimodal-training"
INFERENCE = "multimodal-inference"
# Containers share the cores of this machine, with each other and with other tests. Threads would wait for each other.
ONE_THREAD = "OMP_NUM_THREADS=1"
# Options of a container that may do as little as possible: any user, no rights, and no file system but the mounts.
SEALED = (
    *("--user", "1000", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--network", "none", "--memory", "4g"),
)


def docker(*arguments: str, check: bool = True) -> str:
    """Run a docker command and return its standard output."""
    done = subprocess.run(["docker", *arguments], check=False, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def inspect(name: str) -> dict[str, Any]:
    """Docker's description of a container or an image."""
    described: dict[str, Any] = json.loads(docker("inspect", name))[0]
    return described
