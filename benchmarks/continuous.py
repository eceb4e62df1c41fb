"""Jobs that go on from an earlier model, against jobs that start from scratch.

::

    python benchmarks/continuous.py halves emoji/ -p n_mins=2
    python benchmarks/continuous.py transfer emoji/ --task others -p n_mins=2 --append benchmarks/results.jsonl
    python benchmarks/continuous.py distill emoji/ --teacher quality=light,n_mins=10 -p n_mins=2

The folder has ``train.csv`` and ``test.csv``. Rows of training are shuffled (seed 0) and halved into A and B.

``halves``: models of A, of B, of B going on from A, and of both, on the test rows and on A's own rows.

``transfer``: a model of the ten classes with the most rows, on A; then a task of five classes, from scratch, with the
ten-class model in the ``model`` channel, and with its networks in the ``pretrained`` channel. Tasks: ``some`` of the
ten classes (every second), on B; ``others``, the five classes with the most rows after the ten; ``merged``, the ten in
pairs, on B. ``--rows`` limits the rows of the task.

``distill``: a teacher on all rows, then a student on all rows, alone and with ``distill_from=model``.

Every job is the real program with quality ``toy`` if not told otherwise; figures are of the test rows that have the
task's classes. Prints one JSON line; ``--append FILE`` keeps it.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from multimodal_algo.core.archive import unpack
from multimodal_algo.core.metrics import accuracy, log_loss
from multimodal_algo.local import ChannelData, TrainingJob, train
from multimodal_algo.serving.loaded_model import LoadedModel

Rows = list[list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["halves", "transfer", "distill"])
    parser.add_argument("data", type=Path)
    parser.add_argument("--task", choices=["some", "others", "merged"], default="others")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--earlier", dest="previous", default="", help="Other hyperparameters of the ten-class model, as --teacher's."
    )
    parser.add_argument("--teacher", default="quality=light,n_mins=10")
    parser.add_argument("-p", dest="parameters", action="append", default=[])
    parser.add_argument("--append", type=Path)
    arguments = parser.parse_args()
    parameters = {"quality": "toy", **dict(pair.split("=", 1) for pair in arguments.parameters)}
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), arguments.data, parameters, arguments.seed)
        found = {"halves": halves, "transfer": transfer, "distill": distill}[arguments.what](bench, arguments)
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "benchmark": f"continuous {arguments.what}",
        "data": arguments.data.name,
        "parameters": parameters,
        **found,
    }
    line = json.dumps(result)
    print(line)
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


class Bench:
    """Data, jobs and their figures."""

    def __init__(self, scratch: Path, data: Path, parameters: dict[str, str], seed: int) -> None:
        csv.field_size_limit(2**31 - 1)
        self.scratch, self.parameters = scratch, parameters
        self.header, self.rows = read(data / "train.csv")
        _, self.test = read(data / "test.csv")
        self.place = self.header.index("label")
        random.Random(seed).shuffle(self.rows)
        half = len(self.rows) // 2
        self.a, self.b = self.rows[:half], self.rows[half:]

    def label(self, row: list[str]) -> str:
        """Of a row."""
        return row[self.place]

    def job(self, name: str, rows: Rows, others: dict[str, str] | None = None, **channels: Path) -> Path:
        """Train on `rows`; returns the folder with model.tar.gz."""
        data = self.scratch / f"{name}.csv"
        with data.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows([self.header, *rows])
        given = {"train": ChannelData(data), **{channel: ChannelData(path) for channel, path in channels.items()}}
        started = time.monotonic()
        train(TrainingJob(given, {**self.parameters, **(others or {})}), output=self.scratch / name)
        print(f"{name}: {len(rows)} rows, {time.monotonic() - started:.0f} s", flush=True)
        return self.scratch / name

    def judge(self, folder: Path, *sets: Rows) -> list[dict[str, float]]:
        """Accuracy and log-loss of a job's model on rows."""
        found = []
        with tempfile.TemporaryDirectory(dir=self.scratch) as directory:
            unpack(folder / "model.tar.gz", Path(directory))
            model = LoadedModel.load(Path(directory))
            cells = [self.header.index(column) for column in model.schema.inference_columns]
            for rows in sets:
                parts = [rows[start : start + 64] for start in range(0, len(rows), 64)]
                answers = np.concatenate([model.predict([[row[n] for n in cells] for row in part]) for part in parts])
                truth = np.array([model.classes.index(self.label(row)) for row in rows])
                found.append(
                    {"accuracy": round(accuracy(truth, answers), 4), "log_loss": round(log_loss(truth, answers), 4)}
                )
        print(folder.name, found, flush=True)
        return found


def halves(bench: Bench, arguments: argparse.Namespace) -> dict:
    """See the head of this file."""
    first = bench.job("A", bench.a)
    jobs = {
        "A": first,
        "B": bench.job("B", bench.b),
        "A then B": bench.job("A-B", bench.b, model=first / "model.tar.gz"),
        "A and B": bench.job("AB", bench.rows),
    }
    figures = {name: bench.judge(folder, bench.test, bench.a) for name, folder in jobs.items()}
    return {
        "rows": [len(bench.a), len(bench.b), len(bench.test)],
        **{name: {"test": on_test, "rows of A": on_a} for name, (on_test, on_a) in figures.items()},
    }


def transfer(bench: Bench, arguments: argparse.Namespace) -> dict:
    """See the head of this file."""
    frequent = [name for name, _ in Counter(map(bench.label, bench.rows)).most_common(15)]
    ten = frequent[:10]
    first = bench.job("ten", [row for row in bench.a if bench.label(row) in ten], dict(pairs(arguments.previous)))
    if arguments.task == "others":
        names = {name: name for name in frequent[10:15]}
    elif arguments.task == "some":
        names = {name: name for name in ten[::2]}
    else:
        names = {name: f"group {number // 2}" for number, name in enumerate(ten)}

    def of_task(rows: Rows) -> Rows:
        kept = [row for row in rows if bench.label(row) in names]
        return [[*row[: bench.place], names[bench.label(row)], *row[bench.place + 1 :]] for row in kept]

    rows = of_task(bench.rows if arguments.task == "others" else bench.b)[: arguments.rows]
    test = of_task(bench.test)
    archive = first / "model.tar.gz"
    jobs = {
        "scratch": bench.job("scratch", rows),
        "model channel": bench.job("model-channel", rows, model=archive),
        "pretrained channel": bench.job("pretrained-channel", rows, pretrained=archive),
    }
    figures = {name: bench.judge(folder, test)[0] for name, folder in jobs.items()}
    return {"task": arguments.task, "earlier": arguments.previous, "rows": [len(rows), len(test)], **figures}


def distill(bench: Bench, arguments: argparse.Namespace) -> dict:
    """See the head of this file."""
    teacher = bench.job("teacher", bench.rows, dict(pairs(arguments.teacher)))
    jobs = {
        "teacher": teacher,
        "student alone": bench.job("alone", bench.rows),
        "student": bench.job("student", bench.rows, {"distill_from": "model"}, model=teacher / "model.tar.gz"),
    }
    return {"teacher's": arguments.teacher, **{name: bench.judge(job, bench.test)[0] for name, job in jobs.items()}}


def pairs(text: str) -> list[tuple[str, str]]:
    """Of ``name=value,name=value``."""
    return [(name, value) for name, _, value in (pair.partition("=") for pair in text.split(",") if pair)]


def read(path: Path) -> tuple[list[str], Rows]:
    """The header and the rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    return header, rows


if __name__ == "__main__":
    main()
