"""Runs a training job on this machine, as SageMaker would."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.storage import Location, is_s3, local_data, output_folder
from multimodal_algo.local.runner import STOP_TRAINING_S, ProcessRunner, Program, Runner
from multimodal_algo.local.tree import ChannelData, build_training_tree, filled_pipes

# API: FailureReason has at most 1,024 characters.
_FAILURE_CHARACTERS = 1024
_JOB = "local-training-job"


@dataclass(frozen=True)
class TrainingJob:
    """The settings of a training job, as in ``CreateTrainingJob``.

    Parameters
    ----------
    channels
        Data of each channel, by the channel's name.
    hyperparameters
        Values of hyperparameters as strings, by name.
    max_runtime_s
        Seconds after which the job is stopped. None means no limit.
    checkpoints
        Folder for the job's checkpoints. None means a temporary folder.
    """

    channels: Mapping[str, ChannelData]
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    max_runtime_s: int | None = None
    checkpoints: Path | None = None


def train(
    job: TrainingJob,
    *,
    output: Location,
    runner: Runner | None = None,
    log: Callable[[str], object] = sys.stdout.write,
) -> Path | str:
    """Run a training job. Write ``model.tar.gz`` and the folder ``output`` into the directory `output`.

    Parameters
    ----------
    job
        Settings of the job.
    output
        Directory for the results, or an ``s3://`` URI. A directory is created if it does not exist.
    runner
        Starts the program. None starts a plain process of this installation.
    log
        Called with each line of the job's log, including its newline.

    Returns
    -------
    pathlib.Path or str
        Path of ``model.tar.gz``. It is an ``s3://`` URI if `output` is one.

    Raises
    ------
    UserError
        The program fails. The message is what SageMaker would show as ``FailureReason``.
    """
    with tempfile.TemporaryDirectory(prefix="multimodal-local-") as scratch, ExitStack() as stack:
        base = Path(scratch) / "ml"
        results = stack.enter_context(output_folder(output, Path(scratch) / "output"))
        channels = {
            name: replace(channel, path=local_data(channel.path, Path(scratch) / "channels" / name))
            for name, channel in job.channels.items()
        }
        build_training_tree(base, channels, job.hyperparameters, job.checkpoints)
        runner = runner or ProcessRunner()
        stopped = threading.Event()
        try:
            with filled_pipes(base, channels):
                code = _run(runner, base, job.max_runtime_s, log, stopped)
        finally:
            runner.take_over(base)
        shutil.rmtree(results / "output", ignore_errors=True)
        shutil.copytree(base / "output", results / "output")
        if code != 0:
            reason = _failure_reason(base, code)
            raise UserError(f"{reason} {_continuation(job, base, results, output)}" if stopped.is_set() else reason)
        archive = pack(base / "model", results / "model.tar.gz")
        where = f"{output.rstrip('/')}/{archive.name}" if is_s3(output) else archive
        log(f"model artifact: {where} ({archive.stat().st_size / 1e6:.1f} MB)\n")
    return where


def pack(directory: Path, archive: Path) -> Path:
    """Pack the files of a model directory into a ``.tar.gz``, as SageMaker does. Return the path of the archive.

    The archive gets its final name only when it is complete.
    """
    partial = archive.with_name(archive.name + ".partial")
    with tarfile.open(partial, "w:gz", compresslevel=1) as tar:
        for path in sorted(directory.iterdir()):
            tar.add(path, arcname=path.name)
    os.replace(partial, archive)
    return archive


def _continuation(job: TrainingJob, base: Path, results: Path, output: Location) -> str:
    """Return a text: where the finished parts of a stopped job are, and how to continue. Temporary parts are moved."""
    checkpoints = job.checkpoints
    if checkpoints is None:
        parts = base / "checkpoints"
        if is_s3(output) or not (parts.is_dir() and any(parts.iterdir())):
            return "No part was finished. Repeat the command. With --checkpoints FOLDER a job can be continued."
        checkpoints = results / "checkpoints"
        shutil.rmtree(checkpoints, ignore_errors=True)
        shutil.copytree(parts, checkpoints)
    return f"The checkpoints are in {checkpoints}. To continue, repeat the command with --checkpoints {checkpoints}."


def _run(
    runner: Runner, base: Path, max_runtime_s: int | None, log: Callable[[str], object], stopped: threading.Event
) -> int:
    environment = {
        "TRAINING_JOB_NAME": _JOB,
        "TRAINING_JOB_ARN": f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{_JOB}",
    }
    program = runner.start("train", base, environment, subprocess.PIPE)
    process = program.process
    limit = threading.Timer(max_runtime_s or 0, _stop, [program, stopped])
    with _forwarded_signals(process, stopped):
        try:
            if max_runtime_s is not None:
                limit.start()
            assert process.stdout is not None
            for line in process.stdout:
                log(line.decode("utf-8", errors="replace"))
                sys.stdout.flush()
            return process.wait()
        finally:
            limit.cancel()
            program.stop(STOP_TRAINING_S)


def _stop(program: Program, stopped: threading.Event) -> None:
    stopped.set()
    program.stop(STOP_TRAINING_S)


@contextmanager
def _forwarded_signals(process: subprocess.Popen[bytes], stopped: threading.Event) -> Iterator[None]:
    """Forward SIGTERM and the terminal's interrupt to the process. Both arrive as SIGTERM, as SageMaker sends it."""

    def forward(number: int, frame: object) -> None:
        stopped.set()
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
    return f"The training program {how} and left no failure file. Its log is above."
