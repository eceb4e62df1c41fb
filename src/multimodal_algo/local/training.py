"""A training job on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from multimodal_algo.errors import UserError
from multimodal_algo.local.runner import STOP_TRAINING_S, ProcessRunner, Runner
from multimodal_algo.local.tree import build_training_tree

# API: FailureReason has at most 1,024 characters.
_FAILURE_CHARACTERS = 1024
_JOB = "local-training-job"


def train(
    train_data: Path,
    *,
    output: Path,
    validation: Path | None = None,
    images: Path | None = None,
    hyperparameters: Mapping[str, str] | None = None,
    runner: Runner | None = None,
) -> Path:
    """Run a training job and leave ``model.tar.gz`` and ``output/`` in `output`.

    Parameters
    ----------
    train_data, validation
        A CSV or Parquet file or a folder for each channel.
    images
        A folder of image files that cells may name.
    output
        Directory of the results; made when missing.
    hyperparameters
        The job's hyperparameters, as strings.
    runner
        How to start the program; as a plain process of this installation else.

    Returns
    -------
    pathlib.Path
        The archive.

    Raises
    ------
    UserError
        The program failed; the message is what the platform shows as ``FailureReason``.
    """
    given = {"train": train_data, "validation": validation, "images": images}
    channels = {name: location for name, location in given.items() if location is not None}
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="multimodal-local-") as scratch:
        base = Path(scratch) / "ml"
        build_training_tree(base, channels, hyperparameters or {})
        environment = {
            "TRAINING_JOB_NAME": _JOB,
            "TRAINING_JOB_ARN": f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{_JOB}",
        }
        runner = runner or ProcessRunner()
        try:
            code = _run(runner, base, environment)
        finally:
            runner.take_over(base)
        shutil.rmtree(output / "output", ignore_errors=True)
        shutil.copytree(base / "output", output / "output")
        if code != 0:
            raise UserError(_failure_reason(base, code))
        archive = pack(base / "model", output / "model.tar.gz")
    print(f"model artifact: {archive} ({archive.stat().st_size / 1e6:.1f} MB)", flush=True)
    return archive


def pack(directory: Path, archive: Path) -> Path:
    """Pack a model directory as the platform does: members relative to it. The archive appears when it is whole."""
    partial = archive.with_name(archive.name + ".partial")
    with tarfile.open(partial, "w:gz", compresslevel=1) as tar:
        for path in sorted(directory.iterdir()):
            tar.add(path, arcname=path.name)
    os.replace(partial, archive)
    return archive


def _run(runner: Runner, base: Path, environment: Mapping[str, str]) -> int:
    program = runner.start("train", base, environment, subprocess.PIPE)
    process = program.process
    with _terminated_like_us(process):
        try:
            assert process.stdout is not None
            for line in process.stdout:
                sys.stdout.write(line.decode("utf-8", errors="replace"))
                sys.stdout.flush()
            return process.wait()
        finally:
            program.stop(STOP_TRAINING_S)


@contextmanager
def _terminated_like_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Pass SIGTERM and the terminal's interrupt on as the SIGTERM that the platform would send."""

    def forward(number: int, frame: object) -> None:
        process.terminate()

    previous = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _failure_reason(base: Path, code: int) -> str:
    failure = base / "output/failure"
    reason = (
        failure.read_text(encoding="utf-8", errors="replace")[:_FAILURE_CHARACTERS].strip() if failure.is_file() else ""
    )
    if reason:
        return reason
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
    return f"The training program {how} and left no failure file; its log is above."
