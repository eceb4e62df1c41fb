"""Whether this machine's GPUs and driver fit the installed torch; nothing heavy is imported to tell.

Sources: developer guide, *inference-gpu-drivers*; NVIDIA, *CUDA Compatibility* (minor version compatibility).
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from multimodal_algo.core.errors import PlatformError

# Lowest driver (Linux) of each CUDA major version: any build of that major runs on it.
_LOWEST_DRIVER = {11: (450, 80, 2), 12: (525, 60, 13), 13: (580, 65, 6)}
_BATCH_AMI = "al2-ami-sagemaker-batch-gpu-535"
_FALLBACK = "set ALLOW_CPU_FALLBACK=1 to go on without the GPU"


@dataclass(frozen=True)
class Devices:
    """What was found, and whether it works together.

    Parameters
    ----------
    summary
        One line for the log: devices, driver, CUDA of torch, whether they fit.
    gpus
        How many GPUs there are.
    problem
        Why a GPU that is there cannot be used, with the remedy; None where all is well or no GPU is there.
    """

    summary: str
    gpus: int = 0
    problem: str | None = None


def check_devices(nodes: Sequence[str], driver: str | None, torch_cuda: str | None) -> Devices:
    """Judge a machine.

    Parameters
    ----------
    nodes
        Device nodes of its GPUs, such as ``/dev/nvidia0``.
    driver
        Version of its NVIDIA driver, such as ``535.183.01``; None where none answers.
    torch_cuda
        CUDA version that torch was built with, such as ``12.6``; None for a build without CUDA.
    """
    built = f"torch with CUDA {torch_cuda}" if torch_cuda else "torch without CUDA"
    if not nodes:
        return Devices(f"devices: no GPU, {os.cpu_count()} CPU cores, {built}")
    found = f"devices: {len(nodes)} GPU{'s' if len(nodes) > 1 else ''}, driver {driver or 'none'}, {built}"
    problem = _problem(driver, torch_cuda)
    return Devices(f"{found}: {'they do not fit' if problem else 'they fit'}", len(nodes), problem)


def _problem(driver: str | None, torch_cuda: str | None) -> str | None:
    if torch_cuda is None:
        return (
            f"There is a GPU (driver {driver or 'none'}), but torch is a build without CUDA. "
            f"Build the image with CUDA wheels (TORCH_INDEX_URL of make images), or {_FALLBACK}."
        )
    if driver is None:
        return (
            "There is a GPU, but no NVIDIA driver answers in here. "
            f"Start the container with the NVIDIA runtime (docker run --gpus all), or {_FALLBACK}."
        )
    major = int(torch_cuda.partition(".")[0])
    lowest = _LOWEST_DRIVER.get(major)
    version = tuple(int(part) for part in re.findall(r"\d+", driver))
    if lowest is None or version >= lowest:
        return None
    if version >= _LOWEST_DRIVER[12]:
        remedy = "Use an image with CUDA 12 wheels (TORCH_INDEX_URL of make images)"
    elif major > 12:
        remedy = f"Set TransformAmiVersion={_BATCH_AMI} and use an image with CUDA 12 wheels"
    else:
        remedy = f"Set TransformAmiVersion={_BATCH_AMI}"
    needed = ".".join(f"{part:02d}" if place else str(part) for place, part in enumerate(lowest))
    return (
        f"There is a GPU, but its driver {driver} is too old for torch with CUDA {torch_cuda}, "
        f"which needs {needed} or newer. {remedy}, or {_FALLBACK}."
    )


def find_devices(environment: Mapping[str, str] | None = None, root: Path = Path("/")) -> Devices:
    """Judge this machine. ``CUDA_VISIBLE_DEVICES`` set to nothing hides its GPUs.

    Parameters
    ----------
    environment
        The process's, if not given.
    root
        Where ``dev`` and ``proc`` are.
    """
    env = os.environ if environment is None else environment
    nodes = sorted(str(path) for path in (root / "dev").glob("nvidia[0-9]*"))
    if env.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        nodes = []
    return check_devices(nodes, _driver_version(root), _torch_cuda())


def require_usable(devices: Devices, *, allow_cpu_fallback: bool) -> None:
    """Refuse to go on with a GPU that is there but unusable.

    Raises
    ------
    PlatformError
        With the driver and the remedy.
    """
    if devices.problem and not allow_cpu_fallback:
        raise PlatformError(devices.problem)


def require_torch_sees_gpus(devices: Devices, *, allow_cpu_fallback: bool) -> None:
    """Refuse to go on when all fits on paper, but torch finds no GPU; imports torch.

    Raises
    ------
    PlatformError
        With what torch says.
    """
    if not devices.gpus or devices.problem or allow_cpu_fallback:
        return
    import torch

    if not torch.cuda.is_available():
        raise PlatformError(
            f"{devices.summary}, yet torch sees no GPU. Start the container with the NVIDIA runtime and its compute "
            f"capability (NVIDIA_DRIVER_CAPABILITIES=compute,utility), or {_FALLBACK}."
        )


def _driver_version(root: Path) -> str | None:
    try:
        text = (root / "proc/driver/nvidia/version").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", text)
    return found.group(1) if found else None


def _torch_cuda() -> str | None:
    # Read, not imported: importing torch takes seconds, and the port must answer before.
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    found = re.search(r"^cuda[^=]*=\s*'([^']+)'", text, re.MULTILINE)
    return found.group(1) if found else None
