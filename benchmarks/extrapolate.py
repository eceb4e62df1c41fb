"""What the stages of a job would take on more hosts and rows than there are here, from what they take here.

::

    python benchmarks/extrapolate.py benchmarks/results.jsonl --hosts 1,4,16 --rows 1e6,1e8

Takes the last ``scaling`` line of one host, and ``gather`` line, of the file; prints a table in Markdown. A row has a
photo of 60 KB, two texts of 250 signs, four numbers and two categories. A host is a g5.2xlarge: 4 cores, 32 GB, a GPU,
10 Gbit/s. `ASSUMED` was not measured: no GPU was at hand. Nothing here replaces a run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from multimodal_algo.training.scheduling import seconds_of_each

# README.md, ingest: 1,356 rows/s on two cores.
READ_CORE_S = 2 / 1356
CORES, MEMORY, NETWORK = 4, 32e9, 1.25e9
TEXT_BYTES, WIDTHS = 500, 1280 + 2 * 384
# Images and texts a second on a GPU.
ASSUMED = {"images": 2000.0, "texts": 3000.0}
# modalities.head: how many rows a branch is fitted to.
SHARE, COPIES = 0.7, 5
FOLDS = 5
# What a row's texts and categories take in the first host's memory, as Python's strings.
ROW_MEMORY = TEXT_BYTES + 6 * 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--hosts", default="1,4,16")
    parser.add_argument("--rows", default="1e6,1e8")
    arguments = parser.parse_args()
    lines = [json.loads(line) for line in arguments.results.read_text(encoding="utf-8").splitlines()]
    alone = [line for line in lines if line.get("benchmark") == "scaling" and line["hosts"] == 1][-1]
    gather = [line for line in lines if line.get("benchmark") == "gather"][-1]
    hosts = [int(number) for number in arguments.hosts.split(",")]
    for rows in (int(float(number)) for number in arguments.rows.split(",")):
        stages = [stages_of(rows, number, alone, gather) for number in hosts]
        print(f"\n| {rows:,} rows | " + " | ".join(f"{n} host{'s' if n > 1 else ''}" for n in hosts) + " |")
        print("| --- |" + " --- |" * len(hosts))
        for name in stages[0]:
            print(f"| {name} | " + " | ".join(told(found[name]) for found in stages) + " |")
        print("| **all** | " + " | ".join(told(sum(found.values())) for found in stages) + " |")
        needed = rows * ROW_MEMORY
        if needed > 0.7 * MEMORY:
            print(f"\nThe first host needs {needed / 1e9:,.0f} GB of memory for the texts alone.")


def stages_of(rows: int, hosts: int, alone: dict[str, Any], gather: dict[str, Any]) -> dict[str, float]:
    """Seconds of each stage."""
    size = rows * (TEXT_BYTES + 2 * WIDTHS)
    seconds = {
        "reading, decoding": rows * READ_CORE_S / (CORES * hosts),
        "networks *": rows * (1 / ASSUMED["images"] + 2 / ASSUMED["texts"]) / hosts,
    }
    others = hosts > 1
    seconds["to the first host, and joined"] = others * size / min(NETWORK, gather["join_bytes_per_s"])
    seconds["rows to all hosts"] = others * size / min(NETWORK, gather["share_bytes_per_s"])
    fitted = min(rows, SHARE * 0.8 * MEMORY / (COPIES * (TEXT_BYTES + 2 * WIDTHS)))
    branches = {name: s for name, s in alone["branches"].items() if name not in ("ingest", "fusion")}
    each = [s / alone["rows"] * fitted for s in branches.values()]
    seconds["linear models and trees"] = fitting(each, hosts)
    seconds["fusion"] = alone["branches"]["fusion"] / alone["rows"] * rows
    return seconds


def fitting(each: list[float], hosts: int) -> float:
    """How long branches take that are dealt to hosts as `training.fitting` does it."""
    at_once = hosts // len(each)
    if at_once > 1:
        # Its folds at the same time, and the last fit on all rows after them.
        return max(each) * (-(-FOLDS // at_once) + 1) / (FOLDS + 1)
    (share, *_) = seconds_of_each(each, hosts, 1.0)
    return each[0] / share


def told(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


if __name__ == "__main__":
    main()
