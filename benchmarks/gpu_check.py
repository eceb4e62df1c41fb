"""Whether a GPU answers as a CPU does, and how fast it serves; wherever there is a GPU.

    python benchmarks/gpu_check.py MODEL.tar.gz DATA/test_noheader.csv

It prints the largest difference of a probability and the share of equal labels between the two devices, for the
engines ``torch`` and ``onnx`` (where the installed onnxruntime has CUDA), and then runs ``serving.py speed``. Exit code
1: there is no GPU, or a probability differs by more than 0.02.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

# Networks run in halves on a GPU.
_TOLERANCE = 0.02
_ROWS = 500


def main() -> int:
    model, lines = map(Path, sys.argv[1:3])
    import torch

    if not torch.cuda.is_available():
        print("there is no GPU here")
        return 1
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(model) as tar:
            tar.extractall(scratch, filter="data")
        expected = answers(scratch, lines, "torch", {"CUDA_VISIBLE_DEVICES": ""})
        for engine in ("torch", "onnx"):
            found = answers(scratch, lines, engine, {})
            off = float(np.abs(found - expected).max())
            same = float((found.argmax(axis=1) == expected.argmax(axis=1)).mean())
            print(
                json.dumps(
                    {"engine": engine, "rows": len(found), "off_by": round(off, 5), "same_labels": round(same, 4)}
                )
            )
            failed |= not off <= _TOLERANCE
    serving = Path(__file__).with_name("serving.py")
    subprocess.run([sys.executable, str(serving), "speed", str(model), str(lines), *sys.argv[3:]], check=True)
    return int(failed)


def answers(model: str, lines: Path, engine: str, environment: dict[str, str]) -> np.ndarray:
    """Of the first rows, by a process of its own."""
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        command = [sys.executable, __file__, "--answers", model, str(lines), engine, file.name]
        subprocess.run(command, check=True, env={**os.environ, **environment})
        return np.load(file.name)


def write_answers(model: str, lines: str, engine: str, target: str) -> None:
    from multimodal_algo.config.inference import Engine
    from multimodal_algo.core.log import configure_logging
    from multimodal_algo.serving.loaded_model import LoadedModel

    configure_logging()
    csv.field_size_limit(2**31 - 1)
    with Path(lines).open(newline="", encoding="utf-8") as stream:
        rows = [row for row, _ in zip(csv.reader(stream), range(_ROWS), strict=False)]
    np.save(target, LoadedModel.load(Path(model), Engine(engine)).predict(rows))


if __name__ == "__main__":
    if sys.argv[1] == "--answers":
        write_answers(*sys.argv[2:])
    else:
        sys.exit(main())
