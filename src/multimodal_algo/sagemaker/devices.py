"""The GPUs of this machine, and whether their driver fits the installed torch. Nothing heavy is imported.

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

# The oldest Linux driver for each major version of CUDA. Any build of that major version runs on it.
_LOWEST_DRIVER = {11: (450, 80, 2), 12: (525, 60, 13), 13: (580, 65, 6)}
BATCH_AMI = "al2-ami-sagemaker-batch-gpu-535"
"""The batch transform host with CUDA 12.2, on which a CUDA 12 build of torch runs. The default host has CUDA 11.4.

Source: API, ``TransformResources``.
"""
_FALLBACK = "set ALLOW_CPU_FALLBACK=1 to continue without the GPU"


@dataclass(frozen=True)
class Devices:
    """The GPUs of a machine, and whether they can be used.

    Parameters
    ----------
    summary
        One line for the log: devices, driver, CUDA of torch, whether they fit.
    gpus
        Number of GPUs.
    problem
        Reason why the GPUs cannot be used, with the remedy. None where they can, and on a machine without a GPU.
    """

    summary: str
    gpus: int = 0
    problem: str | None = None


def check_devices(nodes: Sequence[str], driver: str | None, torch_cuda: str | None) -> Devices:
    """Compare the GPUs and the driver of a machine with the build of torch.

    Parameters
    ----------
    nodes
        Device nodes of the GPUs, for example ``/dev/nvidia0``.
    driver
        Version of the NVIDIA driver, for example ``535.183.01``. None where no driver answers.
    torch_cuda
        CUDA version that torch was built with, for example ``12.6``. None for a build without CUDA.
    """
    built = f"torch with CUDA {torch_cuda}" if torch_cuda else "torch without CUDA"
    if not nodes:
        return Devices(f"devices: no GPU, {os.cpu_count()} CPU cores, {built}")
    devices = f"devices: {len(nodes)} GPU{'s' if len(nodes) > 1 else ''}, driver {driver or 'none'}, {built}"
    problem = _problem(driver, torch_cuda)
    return Devices(f"{devices}: {'they do not fit' if problem else 'they fit'}", len(nodes), problem)


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
        remedy = f"Set TransformAmiVersion={BATCH_AMI} and use an image with CUDA 12 wheels"
    else:
        remedy = f"Set TransformAmiVersion={BATCH_AMI}"
    needed = ".".join(f"{part:02d}" if position else str(part) for position, part in enumerate(lowest))
    return (
        f"There is a GPU, but its driver {driver} is too old for torch with CUDA {torch_cuda}, "
        f"which needs {needed} or newer. {remedy}, or {_FALLBACK}."
    )


def find_devices(environment: Mapping[str, str] | None = None, root: Path = Path("/")) -> Devices:
    """Find the GPUs of this machine. An empty ``CUDA_VISIBLE_DEVICES`` hides them.

    Parameters
    ----------
    environment
        Environment variables, by default those of this process.
    root
        Directory that holds ``dev`` and ``proc``.
    """
    env = os.environ if environment is None else environment
    nodes = sorted(str(path) for path in (root / "dev").glob("nvidia[0-9]*"))
    if env.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        nodes = []
    return check_devices(nodes, _driver_version(root), _torch_cuda())


def require_usable(devices: Devices, *, allow_cpu_fallback: bool) -> None:
    """Refuse GPUs that are there but cannot be used.

    Raises
    ------
    PlatformError
        The GPUs cannot be used. The message has the driver and the remedy.
    """
    if devices.problem and not allow_cpu_fallback:
        raise PlatformError(devices.problem)


def require_torch_sees_gpus(devices: Devices, *, allow_cpu_fallback: bool) -> None:
    """Refuse GPUs that torch does not see although driver and build fit. This imports torch.

    Raises
    ------
    PlatformError
        Torch does not see a GPU.
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
    match = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", text)
    return match.group(1) if match else None


def _torch_cuda() -> str | None:
    # The file is read, since importing torch takes seconds, and the port must answer before.
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    match = re.search(r"^cuda[^=]*=\s*'([^']+)'", text, re.MULTILINE)
    return match.group(1) if match else None
