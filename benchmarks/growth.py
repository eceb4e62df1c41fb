"""Time and memory of training jobs against the size of their data: rows, columns, classes, and letters of a text.

    python benchmarks/growth.py rows 1000 10000 50000 200000 1000000 -p quality=very_light -p n_secs=60
    python benchmarks/growth.py columns 10 100 500
    python benchmarks/growth.py classes 2 20 200 1000
    python benchmarks/growth.py letters 50 500 5000

The data are generated. The table of *rows* has ten numbers and categories, that of *columns* half of each, that of
*classes* a text next to two numbers, and that of *letters* a text alone. `--data-rows` sets the rows of the last three.
*cpu_after* and *wall_after* are the seconds after ingest. *sampled* names the branches that were fitted to a part of
the rows. *power* is that of the size by which the seconds grow from the size before: 1.1 is about n log n. It prints
one JSON line per size. With `--append benchmarks/results.jsonl`, ``make bench-report`` plots them.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from fits import timed

HERE = Path(__file__).resolve().parents[1]
DATA_ROWS = {"rows": 0, "columns": 5_000, "classes": 10_000, "letters": 3_000}
CLASSES, WORDS, LETTERS_OF_WORD = 5, 4_000, 6
INGEST = re.compile(r"ingest: \d+ rows from .* in ([\d.]+) s")
WRITTEN = re.compile(r"artifact: .* written in ([\d.]+) s")
FITTED = re.compile(r"INFO (\S+): fitted on \d+ of \d+ rows in ([\d.]+) s")
SAMPLED = re.compile(r"WARNING (\S+): .*fitt(?:ed|ing).* (\d+) of (\d+) rows")
LOSS = re.compile(r"validation:log_loss=([\d.]+)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("axis", choices=DATA_ROWS)
    parser.add_argument("sizes", type=int, nargs="+")
    parser.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--data-rows", type=int)
    parser.add_argument("--append", type=Path, help="also append the lines to this file")
    arguments = parser.parse_args()
    parameters = arguments.parameters or ["quality=very_light", "n_secs=60"]
    rows = arguments.data_rows or DATA_ROWS[arguments.axis]
    before: dict[str, object] = {}
    for size in sorted(arguments.sizes):
        with tempfile.TemporaryDirectory() as scratch:
            found = measured(arguments.axis, size, rows, parameters, Path(scratch))
        power = power_of(before, found)
        line = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), **found, "power": power}
        print(json.dumps(line), flush=True)
        if arguments.append:
            with arguments.append.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
        before = found


def measured(axis: str, size: int, rows: int, parameters: list[str], scratch: Path) -> dict[str, object]:
    """Train on generated data, and return what the job took."""
    train = scratch / "train.csv"
    with train.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(table(axis, size, size if axis == "rows" else rows))
    options = [word for parameter in parameters for word in ("-p", parameter)]
    command = ["train", "--train", str(train), "--output", str(scratch / "job"), *options]
    seconds, lines = timed(HERE / "src", command)
    stages = {"ingest_s": INGEST, "write_s": WRITTEN, "log_loss": LOSS}
    return {
        "benchmark": "growth",
        "axis": axis,
        "size": size,
        "rows": size if axis == "rows" else rows,
        "parameters": parameters,
        **seconds,
        **{name: float(pattern.findall(lines)[-1]) for name, pattern in stages.items()},
        "fits_s": {name: float(value) for name, value in FITTED.findall(lines)},
        "sampled": {name: int(fitted) for name, fitted, rows in SAMPLED.findall(lines) if fitted != rows},
    }


def table(axis: str, size: int, rows: int) -> Iterator[list[object]]:
    """Yield the header and the rows."""
    random = np.random.default_rng(0)
    classes = size if axis == "classes" else CLASSES
    columns = {"rows": 10, "columns": size, "classes": 2, "letters": 0}[axis]
    has_text = axis in ("classes", "letters")
    kinds = ["num" if column % 2 or axis == "classes" else "cat" for column in range(columns)]
    letters = size if axis == "letters" else 60
    words = np.array(["".join(random.choice(list("aeiklmnorst"), LETTERS_OF_WORD)) for _ in range(WORDS)])
    yield [*(f"c{n}_{kind}" for n, kind in enumerate(kinds)), *(["t_text"] if has_text else []), "label"]
    for row in range(rows):
        label = row % classes
        # Four columns depend on the class.
        values = random.normal(size=columns) + np.where(np.arange(columns) < 4, label / classes, 0)
        cells: list[object] = [
            round(value, 4) if kind == "num" else f"v{int(20 * value)}"
            for kind, value in zip(kinds, values.tolist(), strict=True)
        ]
        if has_text:
            chosen = random.integers(0, WORDS, max(1, letters // (LETTERS_OF_WORD + 1)))
            # One word in four belongs to the class.
            chosen[::4] = (chosen[::4] % 20 + 20 * label) % WORDS
            cells.append(" ".join(words[chosen]))
        yield [*cells, f"class {label}"]


def power_of(before: dict[str, object], found: dict[str, object]) -> float | None:
    """Return the power of the size by which the CPU seconds after ingest grow."""
    if not before:
        return None
    ratio = float(str(found["cpu_after"])) / float(str(before["cpu_after"]))
    return round(math.log(ratio) / math.log(int(str(found["size"])) / int(str(before["size"]))), 2)


def commit() -> str:
    described = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=HERE, text=True, capture_output=True)
    return described.stdout.strip()


if __name__ == "__main__":
    main()
