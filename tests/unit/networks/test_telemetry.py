"""The libraries that run networks send nothing about their use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = """
import os, sys
from multimodal_algo.networks import engines
import onnxruntime
print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the threads of a process are counted in /proc")
def test_onnx_runtime_starts_no_thread_that_sends_data_about_its_use() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    own, off = (
        subprocess.run(
            [sys.executable, "-c", COUNT], env=environment | extra, check=True, capture_output=True, text=True
        ).stdout
        for extra in ({}, {"ORT_DISABLE_TELEMETRY": "1"})
    )
    assert own == off
