"""Every case of GPUs, driver and torch build."""

from __future__ import annotations

from pathlib import Path

import pytest

from multimodal_algo.core.errors import PlatformError
from multimodal_algo.sagemaker.devices import Host, check_devices, find_devices, require_usable

ONE = ["/dev/nvidia0"]
MODULE = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\nGCC version: 12\n"
OPEN_MODULE = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (x)\n"


@pytest.mark.parametrize(
    ("nodes", "driver", "cuda"),
    [
        ([], None, "12.6"),
        ([], None, None),
        ([], "470.256.02", "13.0"),
        (ONE, "535.183.01", "12.6"),
        (ONE, "525.60.13", "12.6"),
        (ONE, "580.65.06", "13.0"),
        (ONE, "580.65.06", "12.6"),
        (ONE, "470.256.02", "11.8"),
        (ONE, "600.1", "14.0"),
    ],
)
def test_what_fits_is_no_problem(nodes: list[str], driver: str | None, cuda: str | None) -> None:
    assert check_devices(nodes, driver, cuda).problem is None


@pytest.mark.parametrize(
    ("driver", "cuda", "words"),
    [
        (
            "470.256.02",
            "12.6",
            ["driver 470.256.02", "525.60.13", "TransformAmiVersion=al2-ami-sagemaker-batch-gpu-535"],
        ),
        ("470.256.02", "13.0", ["driver 470.256.02", "TransformAmiVersion", "CUDA 12 wheels"]),
        ("535.183.01", "13.0", ["driver 535.183.01", "580.65.06", "CUDA 12 wheels"]),
        ("525.60.12", "12.6", ["525.60.13"]),
        ("418.87.00", "11.8", ["450.80.02", "TransformAmiVersion"]),
        ("535.183.01", None, ["535.183.01", "build without CUDA"]),
        (None, "12.6", ["no NVIDIA driver", "--gpus all"]),
    ],
)
def test_a_gpu_that_cannot_be_used_is_reported_with_the_remedy(
    driver: str | None, cuda: str | None, words: list[str]
) -> None:
    problem = check_devices(ONE, driver, cuda).problem
    assert problem is not None
    for word in [*words, "ALLOW_CPU_FALLBACK=1"]:
        assert word in problem
    # A driver that would do is not to be replaced by the one that is there already.
    assert driver != "535.183.01" or "TransformAmiVersion" not in problem


def test_the_line_for_the_log_names_devices_driver_and_cuda() -> None:
    assert check_devices(ONE * 2, "535.183.01", "12.6").summary == (
        "devices: 2 GPUs, driver 535.183.01, torch with CUDA 12.6: they fit"
    )
    assert check_devices(ONE, "470.1", "13.0").summary.endswith(
        "1 GPU, driver 470.1, torch with CUDA 13.0: they do not fit"
    )
    assert "no GPU" in check_devices([], None, None).summary


@pytest.mark.parametrize(("text", "version"), [(MODULE, "535.183.01"), (OPEN_MODULE, "580.65.06")])
def test_nodes_and_driver_are_found_where_linux_has_them(tmp_path: Path, text: str, version: str) -> None:
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text(text)
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()
    found = find_devices({}, tmp_path)
    assert found.gpus == 2
    assert f"driver {version}" in found.summary
    assert find_devices({"CUDA_VISIBLE_DEVICES": ""}, tmp_path).gpus == 0
    assert find_devices({}, tmp_path / "nothing").gpus == 0


def test_the_fallback_to_the_cpu_must_be_asked_for() -> None:
    devices = check_devices(ONE, "470.256.02", "12.6")
    with pytest.raises(PlatformError, match=r"470\.256\.02"):
        require_usable(devices, allow_cpu_fallback=False)
    require_usable(devices, allow_cpu_fallback=True)
    require_usable(check_devices([], None, None), allow_cpu_fallback=False)


@pytest.mark.parametrize("instance_type", ["ml.g5.xlarge", "ml.p4d.24xlarge", "ml.g4dn.xlarge", "ml.gr6.4xlarge"])
def test_an_instance_with_gpus_of_which_none_is_seen_is_an_error(tmp_path: Path, instance_type: str) -> None:
    devices = find_devices({}, tmp_path, host=Host.TRAINING, instance_type=instance_type)
    with pytest.raises(PlatformError, match=rf"{instance_type} has GPUs, but none is seen .* ALLOW_CPU_FALLBACK=1"):
        require_usable(devices, allow_cpu_fallback=False)
    require_usable(devices, allow_cpu_fallback=True)
    assert find_devices({"SM_CURRENT_INSTANCE_TYPE": instance_type}, tmp_path).problem
    hidden = {"SM_CURRENT_INSTANCE_TYPE": instance_type, "CUDA_VISIBLE_DEVICES": ""}
    assert find_devices(hidden, tmp_path).problem is None


@pytest.mark.parametrize("instance_type", ["ml.m5.xlarge", "ml.c7g.large", "ml.trn1.2xlarge", "local", ""])
def test_an_instance_without_gpus_needs_none(tmp_path: Path, instance_type: str) -> None:
    assert find_devices({}, tmp_path, instance_type=instance_type).problem is None


@pytest.mark.parametrize(
    ("host", "driver", "cuda", "remedy"),
    [
        (Host.TRANSFORM, "470.256.02", "12.6", "Set TransformAmiVersion=al2-ami-sagemaker-batch-gpu-535, or"),
        (Host.TRANSFORM, "535.183.01", "13.0", "Use an image with CUDA 12 wheels"),
        (Host.ENDPOINT, "470.256.02", "12.6", "Set InferenceAmiVersion=al2-ami-sagemaker-inference-gpu-3-1, or"),
        (Host.ENDPOINT, "550.163.01", "13.0", "Set InferenceAmiVersion=al2023-ami-sagemaker-inference-gpu-4-1, or"),
        (Host.TRAINING, "470.256.02", "12.6", "Use an image with CUDA 11 wheels"),
        (Host.TRAINING, "535.183.01", "13.0", "Use an image with CUDA 12 wheels"),
    ],
)
def test_the_remedy_for_an_old_driver_is_the_setting_of_this_host(
    host: Host, driver: str, cuda: str, remedy: str
) -> None:
    problem = check_devices(ONE, driver, cuda, host).problem
    assert problem is not None
    assert remedy in problem
    assert len([word for word in ("TransformAmi", "InferenceAmi") if word in problem]) <= 1
