"""Training that is killed (``kill -9``) in each of its stages and started again, against the same job left alone.

::

    python benchmarks/kills.py train.csv --kills 30 -p quality=toy -p n_mins=30 --append benchmarks/results.jsonl
    python benchmarks/kills.py texts.csv --kills 30 -p quality=toy -p n_mins=30 \
        -p 'text_hyperparameters={"optim.max_epochs": 2}'

The job that is left alone says when each stage began. Each other job is killed once at a seeded moment of one stage,
and then started until it ends. Counted are finished parts that were made again (none may be), artifacts after a kill
that are neither whole nor absent, files that a killed job left half-written and that the end still has, and jobs whose
metrics differ from those of the job left alone. Prints one JSON line.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from resume import Job, parser_of

from multimodal_algo.artifact import CONFIG, read_config

# The log line that ends each stage.
STAGES = {
    "imports": re.compile(r" INFO disks: "),
    "ingest": re.compile(r" INFO labels: "),
    "fits": re.compile(r": fitted on .*(?=\n)|: part \d fitted"),
    "fusion": re.compile(r" INFO fusion: "),
    "artifact": re.compile(r" INFO artifact: "),
    "report": re.compile(r"\Z"),
}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--kills", type=int, default=30, help="number of kills in each stage")
    parser.add_argument("--stages", default=",".join(STAGES))
    arguments = parser.parse_args()
    parameters = dict(arguments.parameters)
    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as scratch:
        alone = Job(Path(scratch) / "alone", arguments.data, parameters)
        windows = dict(windows_of(alone))
        print(json.dumps({"windows": windows, "metrics": alone.metrics()}), flush=True)
        results = {
            stage: [
                outcome(
                    Job(Path(scratch) / f"{stage}-{n}", arguments.data, parameters),
                    generator.uniform(*windows[stage]), alone,
                )
                for n in range(arguments.kills)
            ]
            for stage in arguments.stages.split(",")
        }  # fmt: skip
    line = json.dumps(
        {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "benchmark": "kills",
            "data": arguments.data.stem,
            "parameters": parameters,
            "stages": {stage: total(counts) for stage, counts in results.items()},
        }
    )
    print(line)
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def total(counts: list[dict[str, int]]) -> dict[str, int]:
    return {key: sum(each[key] for each in counts) for key in counts[0]}


def windows_of(job: Job) -> Iterator[tuple[str, tuple[float, float]]]:
    """Run a job alone, and yield the seconds after its start between which each stage runs."""
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(job.base)}
    command = [sys.executable, "-m", "multimodal_algo", "train"]
    started, ends = time.monotonic(), {}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            ends |= {stage: time.monotonic() - started for stage, end in STAGES.items() if end.search(line)}
    ends["report"] = time.monotonic() - started
    if running.returncode:
        raise SystemExit(f"the job left alone failed: {job.base}")
    begin = 0.0
    for stage in STAGES:
        yield stage, (round(begin, 2), round(ends[stage], 2))
        begin = ends[stage]


def outcome(job: Job, kill_after_s: float, alone: Job) -> dict[str, int]:
    """Kill a job, start it until it ends, and count what went wrong."""
    job.start(kill_after_s)
    torn = not is_whole_or_absent(job.base / "model")
    while not job.is_done:
        job.start(None)
    left = [
        path for path in job.base.rglob("*") if path.name.endswith(".sagemaker-ignore") or ".incomplete" in path.parts
    ]
    result = {
        "kills": job.kills,
        "parts_taken_over": job.taken_over,
        "parts_repeated": job.repeated,
        "torn_artifacts": int(torn),
        "left_over_files": len(left),
        "other_metrics": int(job.metrics() != alone.metrics()),
    }
    print(f"{kill_after_s:.1f} s: {result}", flush=True)
    return result


def is_whole_or_absent(model: Path) -> bool:
    """Whether a model directory holds a whole artifact, or none that could be loaded."""
    if not (model / CONFIG).is_file():
        return True
    try:
        read_config(model)
    except Exception:
        return False
    return True


if __name__ == "__main__":
    main()
