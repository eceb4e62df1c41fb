"""Seconds of the fits of whole training jobs, and their answers, next to those of another commit.

    git worktree add ../before COMMIT
    python benchmarks/fits.py ../before/src DATA/emoji -p quality=very_light -p n_mins=20

The folder of data holds ``train.csv``, ``test.csv`` and ``test_noheader.csv``. Jobs of both trees alternate, `--pairs`
of each. It prints one JSON line: the ratios, this tree to the other one (medians over the pairs), the largest
difference of the held-out log-loss, and all measurements. *cpu* and *wall* are the seconds of the job, *cpu_after* and
*wall_after* those after ingest, and *peak_mb* is the largest resident set of one process. Branches have their names.
*test_accuracy* is that of the test rows, which the tree's own transform answers.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from multimodal_algo.tools.score import score_predictions

FITTED = re.compile(r"INFO (\S+): fitted on .* in ([\d.]+) s")
PROGRAM = [sys.executable, "-m", "multimodal_algo"]
INGESTED = re.compile(r"INFO ingest: \d+ rows from")
NOT_SECONDS = ("log_loss", "accuracy")
LOSS = re.compile(r"validation:((?:[^:;= ]+:)?log_loss)=([\d.]+)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the src folder of the other commit")
    parser.add_argument("data", type=Path)
    parser.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()
    trees = {"this": Path(__file__).parents[1] / "src", "other": arguments.other.resolve()}
    jobs: dict[str, list[dict[str, float]]] = {name: [] for name in trees}
    for pair in range(arguments.pairs):
        for name in list(trees) if pair % 2 else list(trees)[::-1]:
            jobs[name].append(job(trees[name], arguments.data, arguments.parameters))
            print(name, jobs[name][-1], file=sys.stderr, flush=True)
    pairs = list(zip(jobs["this"], jobs["other"], strict=True))
    first, second = pairs[0]  # an old commit may log its branches in other words
    shared = [key for key in first if not key.endswith(NOT_SECONDS) and second.get(key)]
    ratios = {key: median_ratio(key, pairs) for key in shared}
    losses = [abs(this[key] - other[key]) for this, other in pairs for key in this if key.endswith("log_loss")]
    print(json.dumps({"ratios": ratios, "largest_difference_of_log_loss": round(max(losses), 4), "all": jobs}))


def job(tree: Path, data: Path, parameters: list[str]) -> dict[str, float]:
    """Return the seconds of a job and of its branches, its held-out losses, and the accuracy of its test rows."""
    options = [word for parameter in parameters for word in ("-p", parameter)]
    with tempfile.TemporaryDirectory() as scratch:
        seconds, lines = timed(tree, ["train", "--train", str(data / "train.csv"), "--output", scratch, *options])
        answers = Path(scratch) / "answers"
        transform = [*PROGRAM, "local", "transform", "--model", f"{scratch}/model.tar.gz", "--output", str(answers)]
        command = [*transform, "--input", str(data / "test_noheader.csv")]
        subprocess.run(command, env=environment(tree), check=True, stdout=subprocess.DEVNULL)
        outcome = score_predictions(answers / "test_noheader.csv.out", data / "test.csv")
    branches = {name: float(seconds) for name, seconds in FITTED.findall(lines)}
    losses = {name: float(loss) for name, loss in LOSS.findall(lines)}
    fits = round(sum(branches.values()), 1)
    return {**seconds, "fits": fits, **branches, **losses, "test_accuracy": round(outcome.accuracy, 4)}


def timed(tree: Path, words: list[str]) -> tuple[dict[str, float], str]:
    """Run a training job. Return its seconds and its largest resident set, and what it wrote.

    The seconds are those of the processors and of the clock, in all and after ingest.
    """
    started = time.monotonic()
    with subprocess.Popen(
        [*PROGRAM, "local", *words], env=environment(tree), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        lines, ingest_cpu, ingest_wall = [], 0.0, 0.0
        for line in process.stdout:
            lines.append(line)
            if INGESTED.search(line):
                ingest_cpu, ingest_wall = cpu_seconds_of(process.pid), time.monotonic() - started
        # Its numbers are those of the process and of all its descendants.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("".join(lines))
    cpu, wall = used.ru_utime + used.ru_stime, time.monotonic() - started
    seconds = {"cpu": cpu, "wall": wall, "cpu_after": cpu - ingest_cpu, "wall_after": wall - ingest_wall}
    found = {name: round(value, 1) for name, value in seconds.items()}
    return {**found, "peak_mb": round(used.ru_maxrss / 1024)}, "".join(lines)


def environment(tree: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(tree)}


def cpu_seconds_of(pid: int) -> float:
    """Return the CPU seconds of a running process and of its children, those that ended included."""
    job = psutil.Process(pid)
    return sum(sum(process.cpu_times()[:4]) for process in (job, *job.children(recursive=True)))


def median_ratio(key: str, pairs: list[tuple[dict[str, float], dict[str, float]]]) -> float:
    return round(statistics.median(this[key] / other[key] for this, other in pairs), 3)


if __name__ == "__main__":
    main()
