"""Commands of the docker engine."""

from __future__ import annotations

import json
import subprocess
from typing import Any

TRAINING = "multimodal-training"
INFERENCE = "multimodal-inference"
# Containers share the cores of this machine, with each other and with other tests. Threads would wait for each other.
ONE_THREAD = "OMP_NUM_THREADS=1"


def docker(*arguments: str, check: bool = True) -> str:
    """Run a docker command and return its standard output."""
    done = subprocess.run(["docker", *arguments], check=False, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def inspect(name: str) -> dict[str, Any]:
    """Docker's description of a container or an image."""
    described: dict[str, Any] = json.loads(docker("inspect", name))[0]
    return described
