"""Count the false alarms of ``multimodal-algo drift``, and the planted changes that it finds.

    python benchmarks/drift.py DATA/emoji DATA/netflix --append benchmarks/results.jsonl

A toy model of ``train.csv`` is fitted, and its networks read all rows of ``train.csv`` and ``test.csv``.

``test file``: files of some rows of ``test.csv``, chosen at random, against the sketches of ``train.csv``.
``dealt again``: all rows are dealt to a training part and a file anew each time, and the sketches are made anew.
Nothing changed in either, so that every alarm is false. ``novelty`` is the mean novelty of the rows of ``test.csv``,
and the share of them with more than 0.95.

Then one change at a time is planted in files of rows of ``test.csv``: a number times 1.5, a third of its cells missing,
a new value in a third of the cells of a category, Russian texts, an empty column, and inverted images. The table has
the share of the files of each size in which the changed column was found.
"""

from __future__ import annotations

import argparse
import base64
import csv
import io
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.log import configure_logging
from multimodal_algo.core.schema import Modality
from multimodal_algo.ingest.categories import KnownCategories
from multimodal_algo.ingest.features import Features
from multimodal_algo.monitoring.comparison import compare
from multimodal_algo.monitoring.making import sketch
from multimodal_algo.monitoring.measuring import Meter, count_bins
from multimodal_algo.monitoring.novelty import Novelty
from multimodal_algo.monitoring.sketches import Sketches
from multimodal_algo.serving.loaded_model import LoadedModel
from multimodal_algo.training.job import ChannelPaths, JobDirectories, train

_RUSSIAN = (
    "Эта лампа стоит на деревянной ножке и даёт тёплый свет вечером.",
    "Молодая женщина возвращается в родной город и встречает старых друзей.",
    "Три брата узнают о тайне своей семьи и отправляются в долгий путь.",
    "Документальный фильм о жизни рыбаков на берегу холодного моря.",
)
_BATCH = 64

Rows = Sequence[Sequence[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 200, 600])
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--dealt", type=int, default=100, help="number of times that all rows are dealt again")
    parser.add_argument("--planted", type=int, default=20, help="number of files with each change")
    parser.add_argument("--rows", type=int, default=0, help="number of training rows, 0 for all")
    parser.add_argument("--append", type=Path, help="append one JSON line per folder to this file")
    arguments = parser.parse_args()
    csv.field_size_limit(sys.maxsize)
    configure_logging()
    for folder in arguments.folders:
        line = measured(folder, arguments)
        print(json.dumps(line, indent=1), flush=True)
        if arguments.append:
            with arguments.append.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")


def measured(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        values = HyperParameters.parse({"quality": "toy", "n_secs": "60"})
        cut(folder / "train.csv", scratch / "train.csv", arguments.rows)
        train(ChannelPaths(scratch / "train.csv"), values, JobDirectories.below(scratch, weights=scratch))
        model = LoadedModel.load(scratch / "model")
        training, test = (raw_rows(path, model) for path in (scratch / "train.csv", folder / "test.csv"))
    assert model.sketches is not None
    generator = np.random.default_rng(0)
    new, old = features_of(test, model), features_of(training, model)
    meter = Meter.of(model.sketches, model.categories)
    bins = meter.bins(new)
    novelty = Novelty.of(model.sketches)(bins)
    line: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "benchmark": "drift", "data": folder.name,
        "draws": arguments.draws, "test file": {}, "dealt again": {}, "planted": {},
        "novelty": [round(float(novelty.mean()), 3), round(float((novelty > 0.95).mean()), 3)],
    }  # fmt: skip
    for size in arguments.sizes:
        alarms = [
            columns_of(bins[generator.choice(len(bins), size, replace=False)], model.sketches)
            for _ in range(arguments.draws)
        ]
        line["test file"][size] = round(float(np.mean([bool(columns) for columns in alarms])), 4)
    pool = Features.joined([old, new])
    for size in (size for size in (20, 200, 2_000) if size < 0.7 * len(pool)):
        line["dealt again"][size] = round(dealt_again(pool, model, size, arguments.dealt, generator), 4)
    for change, (column, changed) in changes(test, model).items():
        planted = meter_with_languages(model).bins(features_of(changed, model))
        line["planted"][f"{change}: {column}"] = {
            size: float(
                np.mean(
                    [
                        column
                        in columns_of(planted[generator.choice(len(planted), size, replace=False)], model.sketches)
                        for _ in range(arguments.planted)
                    ]
                )
            )
            for size in (20, 50, 200)
        }
    return line


def cut(path: Path, part: Path, count: int) -> None:
    """Write some rows of a file, chosen at random, or all of them."""
    with path.open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    chosen = np.random.default_rng(2).permutation(len(rows))[: count or len(rows)]
    with part.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *(rows[row] for row in chosen)])


def meter_with_languages(model: LoadedModel) -> Meter:
    assert model.sketches is not None
    return Meter.of(model.sketches, model.categories, with_languages=True)


def columns_of(bins: np.ndarray, sketches: Sketches) -> Mapping[str, Any]:
    return compare(sketches, count_bins(bins, sketches.measures), len(bins)).columns


def dealt_again(pool: Features, model: LoadedModel, size: int, times: int, generator: np.random.Generator) -> float:
    """Return the share of files with an alarm, where rows are dealt to training and a file at random."""
    alarms = 0
    for _ in range(times):
        order = generator.permutation(len(pool))
        part = SimpleNamespace(features=pool.take(order[size:]), schema=model.schema)
        rows = np.arange(len(order) - size)
        sketches = sketch(part, rows % 4, rows)  # type: ignore[arg-type]
        meter = Meter.of(sketches, KnownCategories.of(part))  # type: ignore[arg-type]
        alarms += bool(columns_of(meter.bins(pool.take(order[:size])), sketches))
    return alarms / times


def raw_rows(path: Path, model: LoadedModel) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [[row[column] for column in model.schema.inference_columns] for row in csv.DictReader(stream)]


def features_of(rows: Rows, model: LoadedModel) -> Features:
    return Features.joined([model.features(rows[start : start + _BATCH])[0] for start in range(0, len(rows), _BATCH)])


def changes(rows: Rows, model: LoadedModel) -> dict[str, tuple[str, Rows]]:
    """Return the changed column and the changed rows by the name of the change."""
    generator = np.random.default_rng(1)
    rows = [rows[row] for row in generator.permutation(len(rows))[:250]]
    of = {modality: model.schema.of(modality) for modality in Modality}
    planted: dict[str, tuple[str, Rows]] = {}

    def plant(name: str, modality: Modality, change: Callable[[str], str]) -> None:
        if of[modality]:
            column = of[modality][-1]
            place = model.schema.inference_columns.index(column)
            planted[name] = column, [[*row[:place], change(row[place]), *row[place + 1 :]] for row in rows]

    plant("number times 1.5", Modality.NUM, lambda cell: str(float(cell) * 1.5) if cell else cell)
    plant("a third missing", Modality.NUM, lambda cell: "" if generator.random() < 1 / 3 else cell)
    plant("a third new", Modality.CAT, lambda cell: "planted" if generator.random() < 1 / 3 else cell)
    plant("Russian", Modality.TEXT, lambda cell: str(generator.choice(_RUSSIAN)))
    plant("empty", Modality.TEXT, lambda cell: "")
    plant("inverted", Modality.IMAGE, inverted)
    return planted


def inverted(cell: str) -> str:
    if not cell:
        return cell
    image = Image.open(io.BytesIO(base64.b64decode(cell.split(";")[0]))).convert("RGB")
    stream = io.BytesIO()
    ImageOps.invert(image).save(stream, "JPEG")
    return base64.b64encode(stream.getvalue()).decode()


if __name__ == "__main__":
    main()
