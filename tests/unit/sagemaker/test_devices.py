"""Every case of GPUs, driver and torch build."""

from __future__ import annotations

from pathlib import Path

import pytest

from multimodal_algo.core.errors import PlatformError
from multimodal_algo.sagemaker.devices import check_devices, find_devices, require_usable

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
