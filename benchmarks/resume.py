"""Training that is killed (``kill -9``) at random moments and started again, against the same job left alone.

::

    python benchmarks/resume.py train.csv --jobs 20 -p quality=toy -p n_mins=2 --append benchmarks/results.jsonl

Each job is killed once, at a random moment of its life, and started again. Counted are parts that had been kept before
the kill and were made again after it (none may be), how long a job took over both starts, and its metrics. Prints one
JSON line; ``--append FILE`` keeps it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from multimodal_algo.local.tree import ChannelData, build_training_tree

KEPT = re.compile(r"INFO (?:(ingest): \d+ rows of (\w+)|(\S+):) taken from the checkpoint")
SHARES = (0.02, 0.98)
_PARTS = ("data", "models", "fusion")


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options that benchmarks of killed jobs share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-p", dest="parameters", type=lambda text: text.split("=", 1), action="append", default=[])
    parser.add_argument("--append", type=Path)
    return parser


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--jobs", type=int, default=20)
    arguments = parser.parse_args()
    parameters = dict(arguments.parameters)
    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as scratch:
        job = Job(Path(scratch) / "alone", arguments.data, parameters)
        alone_s = job.start(None)
        result = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "benchmark": "resume",
            "data": arguments.data.parent.name,
            "parameters": parameters,
            "alone_s": round(alone_s, 1),
            "alone": job.metrics(),
        }
        print(json.dumps(result), flush=True)
        jobs = [Job(Path(scratch) / f"job-{n}", arguments.data, parameters) for n in range(arguments.jobs)]
        seconds = []
        for job in jobs:
            took = job.start(generator.uniform(*SHARES) * alone_s)
            seconds.append(took + (0 if job.is_done else job.start(None)))
            print(f"{seconds[-1]:.1f} s, {job.kills} kill, {job.repeated} repeated, {job.metrics()}", flush=True)
        result |= summary(jobs, seconds, alone_s)
    line = json.dumps(result)
    print(line)
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def summary(jobs: list[Job], seconds: list[float], alone_s: float) -> dict:
    found = [job.metrics() for job in jobs]
    return {
        "jobs": len(jobs),
        "kills": sum(job.kills for job in jobs),
        "parts_taken_over": sum(job.taken_over for job in jobs),
        "parts_repeated": sum(job.repeated for job in jobs),
        "median_seconds_over_alone": round(float(np.median(seconds)) / alone_s, 3),
        **{name: [round(min(m[name] for m in found), 4), round(max(m[name] for m in found), 4)] for name in found[0]},
    }


class Job:
    """A training job in a directory of its own."""

    def __init__(self, base: Path, data: Path, parameters: dict[str, str]) -> None:
        self.base = base
        build_training_tree(base, {"train": ChannelData(data)}, parameters)
        self.kills = 0
        self.taken_over = 0
        self.repeated = 0
        self.is_done = False

    def start(self, kill_after_s: float | None) -> float:
        """Start it, and kill it after so many seconds; returns how long it ran."""
        before = self.kept()
        environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(self.base)}
        started = time.monotonic()
        command = [sys.executable, "-m", "multimodal_algo", "train"]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as job:
            timer = threading.Timer(kill_after_s or 0, job.kill)
            if kill_after_s is not None:
                timer.start()
            assert job.stdout is not None
            log = job.stdout.read()
            timer.cancel()
        if job.returncode == -9:
            self.kills += 1
        elif job.returncode:
            raise SystemExit(log)
        else:
            self.is_done = True
            taken = {f"data/{found[1]}" if found[0] else found[2] for found in KEPT.findall(log)}
            self.taken_over += len(taken)
            self.repeated += len(before - taken)
        return time.monotonic() - started

    def kept(self) -> set[str]:
        """The parts that an interrupted job left."""
        root = self.base / "checkpoints"
        found = {path.parent.relative_to(root).as_posix() for path in root.rglob("whole.json")}
        return {name.removeprefix("models/") for name in found if name.startswith(_PARTS) and "sagemaker-" not in name}

    def metrics(self) -> dict[str, float]:
        """What the finished job says of itself."""
        fused = json.loads((self.base / "output/data/metrics.json").read_text())["fused"]
        return {name: round(fused[name], 4) for name in ("accuracy", "log_loss")}


if __name__ == "__main__":
    main()
