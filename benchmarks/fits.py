"""Seconds of the fits of whole training jobs, next to those of another commit.

    git worktree add ../before COMMIT
    python benchmarks/fits.py ../before/src DATA/emoji -p quality=very_light -p n_mins=20

The folder of data holds ``train.csv``. Jobs of both trees alternate, `--pairs` of each. It prints one JSON line: the
ratio, this tree to the other one, of the CPU seconds of the job and of the seconds of each branch (medians over the
pairs), the largest difference of the held-out log-loss, and all measurements. The CPU seconds include ingest.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

FITTED = re.compile(r"INFO (\S+): fitted on .* in ([\d.]+) s")
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
            jobs[name].append(job(trees[name], arguments.data / "train.csv", arguments.parameters))
            print(name, jobs[name][-1], file=sys.stderr, flush=True)
    pairs = list(zip(jobs["this"], jobs["other"], strict=True))
    ratios = {key: median_ratio(key, pairs) for key in pairs[0][0] if not key.endswith("log_loss")}
    losses = [abs(this[key] - other[key]) for this, other in pairs for key in this if key.endswith("log_loss")]
    print(json.dumps({"ratios": ratios, "largest_difference_of_log_loss": round(max(losses), 4), "all": jobs}))


def job(tree: Path, train: Path, parameters: list[str]) -> dict[str, float]:
    """Return the CPU seconds of a job, the seconds of its branches, and its held-out losses."""
    options = [word for parameter in parameters for word in ("-p", parameter)]
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "multimodal_algo", "local", "train", "--train", str(train)]
        before = cpu_seconds()
        done = subprocess.run(
            [*command, "--output", str(Path(scratch) / "job"), *options],
            env=os.environ | {"PYTHONPATH": str(tree)}, check=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        spent = cpu_seconds() - before
    branches = {name: float(seconds) for name, seconds in FITTED.findall(done.stdout)}
    losses = {name: float(loss) for name, loss in LOSS.findall(done.stdout)}
    return {"cpu": round(spent, 1), "fits": round(sum(branches.values()), 1), **branches, **losses}


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def median_ratio(key: str, pairs: list[tuple[dict[str, float], dict[str, float]]]) -> float:
    return round(statistics.median(this[key] / other[key] for this, other in pairs), 3)


if __name__ == "__main__":
    main()
