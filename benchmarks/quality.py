"""Fit this project and its peers on folders of ``train.csv`` and ``test.csv``, and print a table of their quality.

All get the same frozen networks, and the fits of this project and of AutoGluon the same seconds. Labels are classes or
numbers. ``public_sets.py`` makes such folders. For example::

    python benchmarks/quality.py DATA/emoji SETS/sizes --seconds 240 --qualities very_light --peers stack

Rows of test files are measured. The table has the standard error of each value, and the difference to the first method
with the standard error of the difference. Both come from 200 bootstrap samples of the test rows. A negative difference
is a gain. In brackets next to the
calibration error is the mean of answers that are perfectly calibrated and as sure as these: fewer rows make it greater.

Peers: ``stack`` (see ``stack.py``, for classes and numbers), and for classes alone ``tfidf-gbm`` (TF-IDF and columns in
LightGBM), ``tabular`` (one ``TabularPredictor`` over all vectors and columns), ``guide`` (a ``TabularPredictor`` with
AutoGluon's toy models per modality, and a network over their votes for the rows that they were fitted to), ``automm``
(``MultiModalPredictor``, end to end. Its image network is timm's ``mobilenetv2_100``, whose weights ``--timm-weights``
names).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from peers import Data, automm, guide, tabular, tfidf_gbm
from stack import stack

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.log import configure_logging
from multimodal_algo.core.metrics import calibration_error, metrics_of
from multimodal_algo.core.schema import LABEL
from multimodal_algo.core.task import Task
from multimodal_algo.ingest.features import Features
from multimodal_algo.ingest.sources import Source, read_rows
from multimodal_algo.serving.loaded_model import LoadedModel
from multimodal_algo.training.job import ChannelPaths, JobDirectories, train

_SAMPLES = 200
_PEERS = ("stack", "tfidf-gbm", "tabular", "guide", "automm")
_SCORES = {True: ("r2", "rmse"), False: ("accuracy", "log_loss", "f1_macro", "calibration_error")}
_HEADER = "| data | method | seconds | accuracy or R² | log-loss or RMSE | difference | macro-F1 | calibration error |"


@dataclass(frozen=True)
class Result:
    """The answers of one method for the test rows."""

    method: str
    seconds: float
    truth: np.ndarray
    answers: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--image-backbone", default="auto")
    parser.add_argument("--text-backbone", default="auto")
    parser.add_argument("--qualities", nargs="+", default=["very_light"])
    parser.add_argument("--peers", nargs="*", default=["stack"], choices=_PEERS)
    parser.add_argument("--timm-weights", type=Path, help="state dict of mobilenetv2_100, for automm")
    parser.add_argument("--append", type=Path, help="append one JSON line per fit to this file")
    arguments = parser.parse_args()
    configure_logging()
    warnings.simplefilter("ignore")
    print(_HEADER)
    print("| --- " * _HEADER.count(" | ") + "| --- |", flush=True)
    for folder in arguments.folders:
        first = None
        for task, result in measured(folder, arguments):
            first = first or result
            line = scored(folder.name, task, result, first)
            print(table_row(line), flush=True)
            if arguments.append:
                with arguments.append.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps({**line, "limit_s": arguments.seconds}) + "\n")


def measured(folder: Path, arguments: argparse.Namespace) -> Iterator[tuple[Task, Result]]:
    """Yield the result of each quality and each peer. Peers get the vectors of the first quality's networks."""
    data = None
    with tempfile.TemporaryDirectory() as scratch:
        for quality in arguments.qualities:
            started = time.monotonic()
            model = fitted(folder, quality, arguments, Path(scratch) / quality)
            seconds = time.monotonic() - started
            test, truth = load(folder / "test.csv", model)
            yield model.task, Result(quality, seconds, truth, model.fuse(model.votes(test)))
            if data is None and arguments.peers:
                train_rows, targets = load(folder / "train.csv", model)
                data = Data(folder, model.schema, model.task, model.classes, train_rows, test, targets, truth)
        for peer in arguments.peers:
            started = time.monotonic()
            answers = answers_of(peer, data, Path(scratch) / peer, arguments)
            yield data.task, Result(peer, time.monotonic() - started, data.truth, answers)


def answers_of(peer: str, data: Data, scratch: Path, arguments: argparse.Namespace) -> np.ndarray:
    peers: dict[str, Callable[[], np.ndarray]] = {
        "stack": lambda: stack(data),
        "tfidf-gbm": lambda: tfidf_gbm(data),
        "tabular": lambda: tabular(data, arguments.seconds, scratch),
        "guide": lambda: guide(data, arguments.seconds, scratch),
        "automm": lambda: automm(data, arguments.seconds, scratch, arguments.timm_weights),
    }
    return peers[peer]()


def fitted(folder: Path, quality: str, arguments: argparse.Namespace, scratch: Path) -> LoadedModel:
    values = {
        "quality": quality, "n_secs": str(arguments.seconds), "image_backbone": arguments.image_backbone,
        "text_backbone": arguments.text_backbone,
    }  # fmt: skip
    train(
        ChannelPaths(folder / "train.csv"),
        HyperParameters.parse(values),
        JobDirectories.below(scratch, weights=Path(arguments.image_backbone).parent),
    )
    return LoadedModel.load(scratch / "model")


def load(path: Path, model: LoadedModel) -> tuple[Features, np.ndarray]:
    """Return the features and the targets of the rows of a file."""
    header, *rows = [row.fields for row in read_rows(Source(path, path.name))]
    place = header.index(LABEL)
    features, problems = model.features([cells[:place] + cells[place + 1 :] for cells in rows])
    assert not any(problems)
    labels = [cells[place] for cells in rows]
    return features, np.array(
        [float(label) if model.task.is_regression else model.classes.index(label) for label in labels]
    )


def scored(data: str, task: Task, result: Result, first: Result) -> dict[str, Any]:
    """Return the scores of a result, with standard errors, as one line of ``results.jsonl``."""
    names = _SCORES[task.is_regression]
    metrics = [metrics_of(task)[name] for name in names]
    rows = np.random.default_rng(0).integers(len(result.truth), size=(_SAMPLES, len(result.truth)))
    scores = {metric.name: metric(result.truth, result.answers) for metric in metrics}
    errors = {metric.name: np.std([metric(result.truth[r], result.answers[r]) for r in rows]) for metric in metrics[:2]}
    loss = metrics[1]
    differences = [loss(result.truth[r], result.answers[r]) - loss(result.truth[r], first.answers[r]) for r in rows]
    difference = loss(result.truth, result.answers) - loss(first.truth, first.answers)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "benchmark": "quality", "data": data,
        "what": result.method, "s": round(result.seconds), "test_rows": len(result.truth),
        **{name: round(value, 4) for name, value in scores.items()},
        **{f"{name}_error": round(float(value), 4) for name, value in errors.items()},
        "difference": round(difference, 4), "difference_error": round(float(np.std(differences)), 4),
        "calibrated": None if task.is_regression else round(error_of_calibrated(result.answers), 4),
    }  # fmt: skip


def error_of_calibrated(answers: np.ndarray) -> float:
    """Return the calibration error that these answers would have on average, if they were perfectly calibrated."""
    random = np.random.default_rng(0)
    draws = [
        (answers.cumsum(axis=1) < random.random((len(answers), 1)) * answers.sum(axis=1, keepdims=True)).sum(axis=1)
        for _ in range(20)
    ]
    return float(np.mean([calibration_error(drawn, answers) for drawn in draws]))


def table_row(line: dict[str, Any]) -> str:
    score, loss = ("r2", "rmse") if "r2" in line else ("accuracy", "log_loss")
    values = [f"{line[name]:.3f} ± {line[f'{name}_error']:.3f}" for name in (score, loss)]
    cells = [line["data"], line["what"], str(line["s"]), *values]
    cells.append(f"{line['difference']:+.3f} ± {line['difference_error']:.3f}")
    if score == "accuracy":
        cells += [f"{line['f1_macro']:.3f}", f"{line['calibration_error']:.3f} ({line['calibrated']:.3f})"]
    return "| " + " | ".join([*cells, "", ""][:8]) + " |"


if __name__ == "__main__":
    main()
