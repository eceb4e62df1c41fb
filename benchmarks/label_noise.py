"""Plant wrong labels in the training rows of folders of ``train.csv`` and ``test.csv``, and count which are found.

    python benchmarks/label_noise.py sample DATA/emoji DATA/netflix --quality toy --append benchmarks/results.jsonl

``sample`` stands for the project's own sample. Labels are planted in 5 % and 10 % of the rows in two ways. ``random``
gives each of these rows any other class with equal probability. ``class`` gives all rows of one class the same wrong
class. A wrong number of a regression is that of another row.

``precision`` is the share of planted labels among the first rows of ``label_issues.csv``, as many as were planted.
Where fewer rows are listed, missing ones count as not found. ``by probability`` is the same for rows ordered by the
held-out probability of their label (``predictions.csv``). ``listed`` is the number of listed rows, and ``right`` the
share of planted labels among them. The last columns are the scores of the model for the test rows, whose labels are as
they were.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from quality import load

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.log import configure_logging
from multimodal_algo.core.metrics import scores_of
from multimodal_algo.core.schema import LABEL
from multimodal_algo.serving.loaded_model import LoadedModel
from multimodal_algo.tools.sample import write_sample
from multimodal_algo.training.job import ChannelPaths, JobDirectories, train

_COLUMNS = ("data", "planted", "kind", "label_noise", "precision", "by probability", "listed", "right", "scores")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.1])
    parser.add_argument("--kinds", nargs="+", default=["random", "class"])
    parser.add_argument("--label-noise", nargs="+", default=["keep"])
    parser.add_argument("--quality", default="toy")
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--rows", type=int, default=0, help="number of training rows, 0 for all")
    parser.add_argument("--append", type=Path, help="append one JSON line per fit to this file")
    arguments = parser.parse_args()
    csv.field_size_limit(sys.maxsize)
    configure_logging()
    print(f"| {' | '.join(_COLUMNS)} |\n{'| --- ' * len(_COLUMNS)}|", flush=True)
    for name in arguments.folders:
        for share in arguments.shares:
            for kind in arguments.kinds if share else ["none"]:
                for treatment in arguments.label_noise:
                    with tempfile.TemporaryDirectory() as scratch:
                        line = measured(name, share, kind, treatment, Path(scratch), arguments)
                    print(table_row(line), flush=True)
                    if arguments.append:
                        with arguments.append.open("a", encoding="utf-8") as stream:
                            stream.write(json.dumps(line) + "\n")


def measured(
    name: str, share: float, kind: str, treatment: str, scratch: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    folder = Path(name)
    if name == "sample":
        folder = scratch / "sample"
        write_sample(folder)
    with (folder / "train.csv").open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    if arguments.rows:
        rows = [rows[row] for row in np.random.default_rng(1).permutation(len(rows))[: arguments.rows]]
    planted = plant(rows, header.index(LABEL), share, kind)
    with (scratch / "train.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    values = {"quality": arguments.quality, "n_secs": str(arguments.seconds)}
    if treatment != "keep":
        values["label_noise"] = treatment
    started = time.monotonic()
    train(
        ChannelPaths(scratch / "train.csv"),
        HyperParameters.parse(values),
        JobDirectories.below(scratch, weights=scratch),
    )
    seconds = time.monotonic() - started
    model = LoadedModel.load(scratch / "model")
    test, truth = load(folder / "test.csv", model)
    listed = [int(line["row"]) - 1 for line in read(scratch / "output" / "label_issues.csv")]
    unlikely = [int(line["ID"]) for line in read(scratch / "output" / "predictions.csv")] if "ID" not in header else []
    if "ID" in header:
        rows_of = {row[header.index("ID")]: number for number, row in enumerate(rows)}
        unlikely = [rows_of[line["ID"]] for line in read(scratch / "output" / "predictions.csv")]
    scores = scores_of(model.task, truth, model.fuse(model.votes(test)))
    count = len(planted)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "benchmark": "label noise", "data": folder.name,
        "planted": count, "rows": len(rows), "kind": kind, "label_noise": treatment, "quality": arguments.quality,
        "precision": round(len(planted & set(listed[:count])) / count, 3) if count else None,
        "by_probability": round(len(planted & set(unlikely[:count])) / count, 3) if count else None,
        "listed": len(listed), "right": round(len(planted & set(listed)) / max(len(listed), 1), 3),
        "s": round(seconds), "scores": {name: round(score, 4) for name, score in list(scores.items())[:3]},
    }  # fmt: skip


def plant(rows: list[list[str]], label: int, share: float, kind: str) -> set[int]:
    """Change the labels of a share of the rows. Return the positions of these rows."""
    generator = np.random.default_rng(0)
    classes = sorted({row[label] for row in rows})
    chosen = generator.choice(len(rows), round(share * len(rows)), replace=False)
    wrong_class = dict(zip(classes, np.roll(classes, 1), strict=True))
    before = [row[label] for row in rows]
    for row in map(int, chosen):
        if kind == "class":
            rows[row][label] = str(wrong_class[before[row]])
        else:
            other = [each for each in classes if each != before[row]]
            rows[row][label] = other[int(generator.integers(len(other)))]
    return {int(row) for row in chosen}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def table_row(line: dict[str, Any]) -> str:
    scores = ", ".join(f"{name} {score}" for name, score in line["scores"].items())
    values = (
        line["data"], f"{line['planted']} of {line['rows']}", line["kind"], line["label_noise"], line["precision"],
        line["by_probability"], line["listed"], line["right"], scores,
    )  # fmt: skip
    return f"| {' | '.join(map(str, values))} |"


if __name__ == "__main__":
    main()
