"""The GPUs of this machine, and whether the NVIDIA driver suits the installed torch. This imports nothing heavy.

Sources: developer guide, *inference-gpu-drivers*; NVIDIA, *CUDA Compatibility* (minor version compatibility).
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from multimodal_algo.config.transform import BATCH_VARIABLE
from multimodal_algo.core.errors import PlatformError

# The oldest Linux driver for each major version of CUDA. Any build of that major version runs on it.
_LOWEST_DRIVER = {11: (450, 80, 2), 12: (525, 60, 13), 13: (580, 65, 6)}
BATCH_AMI = "al2-ami-sagemaker-batch-gpu-535"
"""The batch transform host with CUDA 12.2, on which a CUDA 12 build of torch runs. The default host has CUDA 11.4.

Source: API, ``TransformResources``.
"""
ENDPOINT_AMI = "al2-ami-sagemaker-inference-gpu-3-1"
"""The endpoint host with CUDA 12.4, on which a CUDA 12 build of torch runs. Source: API, ``ProductionVariant``."""
_ENDPOINT_13 = "al2023-ami-sagemaker-inference-gpu-4-1"
# Families of instances with NVIDIA GPUs: p2 to p6, g3 to g7, gr6.
_GPU_INSTANCE = re.compile(r"ml\.(p|g|gr)\d")
INSTANCE_VARIABLE = "SM_CURRENT_INSTANCE_TYPE"
"""The environment variable of the instance type, by the name that SageMaker's toolkits use."""
_FALLBACK = "set ALLOW_CPU_FALLBACK=1 to continue without the GPU"


class Host(StrEnum):
    """The purpose for which this program runs: training, a transform job or an endpoint.

    SageMaker has a setting for the GPU driver of a transform job and another one for that of an endpoint. Training jobs
    have no such setting. Sources: API, ``TransformResources`` and ``ProductionVariant``.
    """

    TRAINING = "training"
    TRANSFORM = "transform"
    ENDPOINT = "endpoint"


_DRIVERS = {
    (Host.TRANSFORM, 12): f"TransformAmiVersion={BATCH_AMI}",
    (Host.ENDPOINT, 12): f"InferenceAmiVersion={ENDPOINT_AMI}",
    (Host.ENDPOINT, 13): f"InferenceAmiVersion={_ENDPOINT_13}",
}
"""The setting for a driver that runs builds for a major version of CUDA."""


@dataclass(frozen=True)
class Devices:
    """The GPUs of a machine, and whether this program can use them.

    Parameters
    ----------
    summary
        One line for the log: the GPUs, the driver, the CUDA version of torch, and whether they suit each other.
    gpus
        Number of GPUs.
    problem
        Reason why the GPUs cannot be used, with the remedy. None if they can, or if the machine has no GPU.
    """

    summary: str
    gpus: int = 0
    problem: str | None = None


def check_devices(
    nodes: Sequence[str], driver: str | None, torch_cuda: str | None, host: Host = Host.TRANSFORM
) -> Devices:
    """Check whether a machine's GPU driver is new enough for the CUDA version of torch.

    Parameters
    ----------
    nodes
        Device files of the GPUs, for example ``/dev/nvidia0``.
    driver
        Version of the NVIDIA driver, for example ``535.183.01``. None if there is no working driver.
    torch_cuda
        CUDA version that torch was built with, for example ``12.6``. None for a build without CUDA.
    host
        What the program runs for. The proposed remedy depends on it.
    """
    built = f"torch with CUDA {torch_cuda}" if torch_cuda else "torch without CUDA"
    if not nodes:
        return Devices(f"devices: no GPU, {os.cpu_count()} CPU cores, {built}")
    devices = f"devices: {len(nodes)} GPU{'s' if len(nodes) > 1 else ''}, driver {driver or 'none'}, {built}"
    problem = _problem(driver, torch_cuda, host)
    return Devices(f"{devices}: {'they do not fit' if problem else 'they fit'}", len(nodes), problem)


def _problem(driver: str | None, torch_cuda: str | None, host: Host) -> str | None:
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
    remedy = _driver_remedy(major, version, host)
    needed = ".".join(f"{part:02d}" if position else str(part) for position, part in enumerate(lowest))
    return (
        f"There is a GPU, but its driver {driver} is too old for torch with CUDA {torch_cuda}, "
        f"which needs {needed} or newer. {remedy}, or {_FALLBACK}."
    )


def _driver_remedy(major: int, version: tuple[int, ...], host: Host) -> str:
    """Return a remedy, as the beginning of a sentence, for a driver `version` that is too old for CUDA `major`."""
    if (setting := _DRIVERS.get((host, max(major, 12)))) is not None:
        return f"Set {setting}"
    image = "an image with CUDA 12 wheels (TORCH_INDEX_URL of make images)"
    if version >= _LOWEST_DRIVER[12] or (host, 12) not in _DRIVERS:
        return f"Use {image if major > 12 else image.replace('12', '11')}"
    return f"Set {_DRIVERS[host, 12]} and use {image}"


def find_devices(
    environment: Mapping[str, str] | None = None,
    root: Path = Path("/"),
    *,
    host: Host | None = None,
    instance_type: str = "",
) -> Devices:
    """Find the GPUs of this machine, and check whether they can be used.

    It is a problem if the instance type has GPUs but none is seen. It is not if an empty ``CUDA_VISIBLE_DEVICES`` hides
    the GPUs.

    Parameters
    ----------
    environment
        Environment variables, by default those of this process.
    root
        Directory that holds ``dev`` and ``proc``.
    host
        What the program runs for. None for a server: the environment shows whether a transform job started it.
    instance_type
        Type of the instance, by default the value of ``SM_CURRENT_INSTANCE_TYPE``.
    """
    env = os.environ if environment is None else environment
    nodes = sorted(str(path) for path in (root / "dev").glob("nvidia[0-9]*"))
    are_hidden = env.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")
    if host is None:
        host = Host.TRANSFORM if env.get(BATCH_VARIABLE, "").lower() == "true" else Host.ENDPOINT
    devices = check_devices([] if are_hidden else nodes, _driver_version(root), _torch_cuda(), host)
    instance_type = instance_type or env.get(INSTANCE_VARIABLE, "")
    if are_hidden or nodes or not _GPU_INSTANCE.match(instance_type):
        return devices
    problem = (
        f"The instance type {instance_type} has GPUs, but none is seen in here. Start the container with the NVIDIA "
        f"runtime, choose an instance type without GPUs, or {_FALLBACK}."
    )
    return replace(devices, problem=problem)


def require_usable(devices: Devices, *, allow_cpu_fallback: bool) -> None:
    """Raise an error if there are GPUs that cannot be used, unless the user allows the CPU instead.

    Raises
    ------
    PlatformError
        The GPUs cannot be used. The message has the driver's version and the remedy.
    """
    if devices.problem and not allow_cpu_fallback:
        raise PlatformError(devices.problem)


def require_torch_sees_gpus(devices: Devices, *, allow_cpu_fallback: bool) -> None:
    """Raise an error if torch sees no GPU although there are GPUs with a suitable driver. This imports torch.

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
