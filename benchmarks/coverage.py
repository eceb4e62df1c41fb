"""Coverage and size of prediction sets and intervals on rows that training never saw.

::

    python benchmarks/coverage.py DATA/emoji DATA/netflix -p quality=very_light -p n_mins=4
    python benchmarks/coverage.py --simulated 20 --append benchmarks/results.jsonl

A folder holds ``train.csv`` and ``test.csv``, with header and label. A real training job makes an artifact, and a real
transform job for each coverage answers the test rows. ``--model`` takes an artifact in place of the training job.

``--simulated N`` repeats a simulation N times for each case: the votes of ``fusion.py`` for classes, and numbers whose
errors differ from row to row. The fusion is fitted to out-of-fold votes, and the new rows get the votes of other fits.
The mean coverage over the repetitions then has a small sampling error.

The table has the coverage with its sampling error, which counts the held-out rows and the test rows, the mean size of
sets or the median width of intervals, the share of sets with one label, and the coverage of the hardest quarter of the
rows: those with the largest sets, or with the widest intervals. ``plain`` is the size without adaptation: sets of the
first k labels for all rows alike, and intervals of one width.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from fusion import COLUMNS, FOLDS, World

from multimodal_algo.core.budget import Budget
from multimodal_algo.core.task import Task
from multimodal_algo.fusion.conformal.intervals import PredictionIntervals
from multimodal_algo.fusion.conformal.rows import CalibrationRows
from multimodal_algo.fusion.conformal.sets import PredictionSets
from multimodal_algo.fusion.fit import FusionSettings, fit_fusion
from multimodal_algo.fusion.folds import OutOfFold, stratified_folds
from multimodal_algo.fusion.selection import Selector
from multimodal_algo.fusion.votes import Votes
from multimodal_algo.local import ChannelData, TrainingJob, TransformSettings, train, transform

COVERAGES = (0.8, 0.9, 0.95)
CASES = [(3, 300), (19, 600), (19, 4_800), (100, 5_000)]
NUMBER_CASES = [300, 3_000]
NEW_ROWS = 4_000
Line = dict[str, object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="*")
    parser.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--simulated", type=int, default=0, metavar="N")
    parser.add_argument("--append", type=Path)
    arguments = parser.parse_args()
    csv.field_size_limit(sys.maxsize)
    print("| data | coverage | measured | sampling error | size | plain | one label | hardest quarter |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    lines = [*simulated(arguments.simulated)] if arguments.simulated else []
    for data in arguments.data:
        lines += real(data, arguments.parameters, arguments.model)
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(line) + "\n" for line in lines)


def line_of(data: str, coverage: float, values: dict[str, float]) -> Line:
    """Print a row of the table, and return it for the file of results."""
    line: Line = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "benchmark": "coverage",
        "data": data,
        "coverage": coverage,
        **{name: round(value, 4) for name, value in values.items()},
    }
    keys = ("measured", "sampling_error", "size", "plain", "one", "hardest")
    cells = [f"{values[key]:.4g}" if key in values else "" for key in keys]
    print(f"| {data} | {coverage:g} | {' | '.join(cells)} |", flush=True)
    return line


def figures(hits: np.ndarray, sizes: np.ndarray, held_out: int, coverage: float) -> dict[str, float]:
    """Return the figures of one case from whether the truth is covered, and sizes, each (rows,)."""
    hardest = np.argsort(sizes, kind="stable")[-(len(sizes) // 4) :]
    return {
        "measured": float(hits.mean()),
        "sampling_error": float(np.sqrt(coverage * (1 - coverage) * (1 / len(hits) + 1 / held_out))),
        "hardest": float(hits[hardest].mean()),
    }


def real(data: Path, parameters: list[str], model: Path | None) -> Iterator[Line]:
    """Train on a folder, transform its test rows with each coverage, and yield the figures."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if model is None:
            job = TrainingJob({"train": ChannelData(data / "train.csv")}, dict(p.split("=", 1) for p in parameters))
            model = Path(train(job, output=folder / "job", log=sys.stderr.write))
        header, *rows = read(data / "test.csv")
        label = header.index("label")
        with (folder / "lines.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([cell for place, cell in enumerate(row) if place != label] for row in rows)
        truth, held_out = [row[label] for row in rows], len(read(data / "train.csv")) - 1
        for coverage in COVERAGES:
            is_regression = bool(json.loads(metrics_of(model))["problem_type"] == "regression")
            wanted = "prediction_interval" if is_regression else "prediction_set"
            settings = TransformSettings(env={"SAGEMAKER_INFERENCE_OUTPUT": wanted, "COVERAGE": str(coverage)})
            transform(model, folder / "lines.csv", settings, output=folder / f"{coverage}")
            answers = [json.loads(row[0]) for row in read(folder / f"{coverage}" / "lines.csv.out")]
            if is_regression:
                bounds, numbers = np.array(answers), np.array(truth, dtype=float)
                hits = (bounds[:, 0] <= numbers) & (numbers <= bounds[:, 1])
                sizes = bounds[:, 1] - bounds[:, 0]
                values = {"size": float(np.median(sizes))}
            else:
                hits = np.array([label in answer for label, answer in zip(truth, answers, strict=True)])
                sizes = np.array([len(answer) for answer in answers])
                values = {"size": float(sizes.mean()), "one": float((sizes == 1).mean())}
            yield line_of(data.resolve().name, coverage, {**figures(hits, sizes, held_out, coverage), **values})


def metrics_of(model: Path) -> str:
    """Return ``metrics.json`` of the job whose archive this is."""
    return (model.parent / "output" / "data" / "metrics.json").read_text(encoding="utf-8")


def read(path: Path) -> list[list[str]]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def simulated(repetitions: int) -> Iterator[Line]:
    """Yield the means over repetitions of each simulated case."""
    cases = [(f"{classes} classes, {rows} rows", classes, rows) for classes, rows in CASES]
    for name, classes, rows in [*cases, *((f"numbers, {rows} rows", 0, rows) for rows in NUMBER_CASES)]:
        runs = [
            classes_once(classes, rows, seed) if classes else numbers_once(rows, seed) for seed in range(repetitions)
        ]
        for position, coverage in enumerate(COVERAGES):
            own = [run[position] for run in runs]
            values = {key: float(np.mean([each[key] for each in own])) for key in own[0]}
            values["sampling_error"] = float(np.std([each["measured"] for each in own])) / np.sqrt(repetitions)
            yield line_of(f"simulated, {name}", coverage, {**values, "repetitions": repetitions})


def classes_once(classes: int, rows: int, seed: int) -> list[dict[str, float]]:
    """Return the figures for each coverage of one simulation of classes."""
    world = World(classes, COLUMNS, seed)
    folds, votes, labels = world.training(rows, 0.1)
    fusion, predictions, _ = fit_fusion(
        OutOfFold(votes, labels, folds),
        COLUMNS,
        selector=Selector(Task.of_classes(classes), "log_loss"),
        settings=FusionSettings(max_epochs=30, seed=seed),
        budget=Budget.starting_now(60),
    )
    calibration = CalibrationRows(predictions, votes, labels, np.ones(rows), np.arange(rows), folds)
    truth = world.labels(NEW_ROWS)
    new = fusion.predict(world.votes(world.points(truth), world.present(NEW_ROWS, 0.1), FOLDS))
    ranks = (-predictions).argsort(axis=1).argsort(axis=1)[np.arange(rows), labels] + 1
    results = []
    for coverage in COVERAGES:
        members = PredictionSets.fit(calibration, coverage).members(new, coverage)
        hits, sizes = members[np.arange(NEW_ROWS), truth], members.sum(axis=1)
        plain = float(np.quantile(ranks, coverage, method="higher"))
        values = {"size": float(sizes.mean()), "plain": plain, "one": float((sizes == 1).mean())}
        results.append({**figures(hits, sizes, rows, coverage), **values})
    return results


def numbers_once(rows: int, seed: int) -> list[dict[str, float]]:
    """Return the figures for each coverage of one simulation of numbers, whose errors are skewed and differ."""
    generator = np.random.default_rng(seed)

    def draw(count: int) -> tuple[np.ndarray, Votes, np.ndarray]:
        truth, noise = generator.normal(size=count), generator.choice([0.1, 0.3, 1.0], size=(count, 1))
        votes = np.zeros((count, 3, 2))
        votes[:, :, 0] = truth[:, None] + noise * (generator.gamma(2.0, size=(count, 3)) - 2)
        missing = generator.random((count, 3)) < 0.1
        votes[missing] = [0.0, 1.0]
        counts = np.maximum(1, (~missing).sum(axis=1))
        return (votes[:, :, 0].sum(axis=1) / counts)[:, None], Votes(votes), truth

    predictions, votes, truth = draw(rows)
    folds = stratified_folds(truth, 4, seed=0)
    fitted = PredictionIntervals.fit(
        CalibrationRows(predictions, votes, truth, np.ones(rows), np.arange(rows), folds), 0.0
    )
    new, new_votes, new_truth = draw(NEW_ROWS)
    results = []
    for coverage in COVERAGES:
        low, high = fitted.intervals(new, new_votes, coverage).T
        plain = 2 * float(np.quantile(np.abs(predictions[:, 0] - truth), coverage, method="higher"))
        values = {"size": float(np.median(high - low)), "plain": plain}
        results.append({**figures((low <= new_truth) & (new_truth <= high), high - low, rows, coverage), **values})
    return results


if __name__ == "__main__":
    main()
