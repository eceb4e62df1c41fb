"""One job on one, two and more hosts, each a container with one core of this machine, stage by stage.

::

    python benchmarks/scaling.py train.csv --hosts 1,2 --files 8 -p quality=light -p n_mins=10 --append results.jsonl

Every host is pinned to a core of its own (``--cpuset-cpus``), so there can be as many as the machine has cores. Rows
are dealt to several files, as jobs on several hosts want them. Stages are told from the times in the first host's log:
``start`` is until all hosts train together, ``ingest`` until the rows are joined, ``fitting`` until the fusion begins,
``rest`` is fusion and artifact. Prints a JSON line per number of hosts, and how much faster each stage is than on the
first; ``--append FILE`` keeps them. It needs the images of ``make images``.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import tempfile
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/container"))

from cluster import Cluster

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d) INFO (.*)")
_MARKS = {
    "start": "devices: ",
    "ingest": "training: quality",
    "fitting": "labels: ",
    "rest": "fusion: ",
    "end": "validation:accuracy",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--hosts", default="1,2", help="Numbers of hosts, separated by commas.")
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--copies", type=int, default=1, help="How often each row occurs, for longer reading.")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("-p", dest="parameters", action="append", default=[])
    parser.add_argument("--append", type=Path)
    arguments = parser.parse_args()
    parameters = dict(pair.split("=", 1) for pair in arguments.parameters)
    with tempfile.TemporaryDirectory() as scratch:
        rows = write_files(arguments.data, Path(scratch) / "train", arguments.files, arguments.rows, arguments.copies)
        first: dict[str, float] = {}
        for number in range(arguments.repeat):
            for hosts in map(int, arguments.hosts.split(",")):
                stages = measure(Path(scratch) / f"{number}-{hosts}", Path(scratch) / "train", hosts, parameters)
                result: dict[str, Any] = {
                    "date": datetime.now(UTC).isoformat(timespec="seconds"),
                    "benchmark": "scaling",
                    "data": arguments.data.parent.name,
                    "rows": rows,
                    "files": arguments.files,
                    "parameters": parameters,
                    "hosts": hosts,
                    **stages,
                }
                first = first or stages["seconds"]
                result["times_as_fast"] = {
                    name: round(first[name] / max(seconds, 1), 2) for name, seconds in stages["seconds"].items()
                }
                print(json.dumps(result), flush=True)
                if arguments.append:
                    with arguments.append.open("a", encoding="utf-8") as stream:
                        stream.write(json.dumps(result) + "\n")


def write_files(source: Path, folder: Path, files: int, most: int | None, copies: int) -> int:
    """Deal the rows to files; how many there are."""
    csv.field_size_limit(2**31 - 1)
    with source.open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    rows = rows[:most] * copies
    folder.mkdir()
    for number in range(files):
        with (folder / f"part-{number:03}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(header)
            writer.writerows(rows[number * len(rows) // files : (number + 1) * len(rows) // files])
    return len(rows)


def measure(scratch: Path, data: Path, hosts: int, parameters: dict[str, str]) -> dict[str, Any]:
    """Seconds of each stage, of each branch, and what the job reports."""
    with Cluster(scratch, hosts, {"train": data}, parameters) as cluster:
        for core, host in enumerate(cluster.hosts):
            cluster.start([host], "--cpuset-cpus", str(core))
        codes = cluster.wait()
        log = cluster.log(cluster.hosts[0])
        if any(codes.values()):
            raise SystemExit(log[-3000:])
        metrics = json.loads((cluster.tree(cluster.hosts[0]) / "output/data/metrics.json").read_text())
    return {
        "seconds": stages_of(log),
        "branches": metrics["seconds"],
        "fused": {name: round(metrics["fused"][name], 4) for name in ("accuracy", "log_loss")},
    }


def stages_of(log: str) -> dict[str, float]:
    """Seconds of each stage, by the first line of the one that follows it."""
    lines = [found.groups() for line in log.split("\n") if (found := _TIME.match(line))]
    times = {}
    for stage, words in _MARKS.items():
        time = next(time for time, said in lines if said.startswith(words))
        times[stage] = datetime.fromisoformat(time).timestamp()
    together = [datetime.fromisoformat(time).timestamp() for time, said in lines if " train together: " in said]
    if together:
        times["ingest"] = together[0]
    names = list(times)
    seconds = {name: times[after] - times[name] for name, after in pairwise(names)}
    return seconds | {"all": times["end"] - times["start"]}


if __name__ == "__main__":
    main()
