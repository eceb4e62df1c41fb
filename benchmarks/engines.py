"""Engines of the frozen networks: speed, difference of the vectors, and what a linear model loses by them.

    python benchmarks/engines.py DATA/emoji DATA/netflix
    python benchmarks/engines.py DATA/emoji --networks tf_efficientnet_lite0 --engines onnx openvino bf16

The folders hold ``train.csv`` and ``test.csv``. For each network of the package: CPU milliseconds of a cell of the test
rows, the median of five alternating runs, and the largest difference of a vector from ``onnx``, as a share of the
largest entry, with the smallest cosine. Then log-loss on the test rows of a logistic regression on the vectors of the
training rows, for each pair of engines in training and serving, and the share of rows whose label flips by the engine
of serving. ``bf16`` is OpenVINO in bfloat16 for every network, also for those that ``openvino`` keeps in float32. It
prints one JSON line per network and folder.

    python benchmarks/engines.py DATA/netflix --model MODEL.tar.gz

With a model it compares the answers to the test rows by the engines instead: log-loss, the share of rows whose label
flips, and the largest difference of a probability.
"""

from __future__ import annotations

import argparse
import base64
import csv
import itertools
import json
import statistics
import tarfile
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from multimodal_algo.config.inference import Engine
from multimodal_algo.ingest.images import decode_images
from multimodal_algo.networks import embedded
from multimodal_algo.networks.backbone import Backbone
from multimodal_algo.networks.engines import Graph
from multimodal_algo.networks.image_backbone import ImageBackbone
from multimodal_algo.networks.openvino_network import OpenVinoNetwork
from multimodal_algo.networks.stored import GRAPH
from multimodal_algo.networks.text_backbone import TextBackbone
from multimodal_algo.networks.texts.library import EMBEDDED
from multimodal_algo.serving.loaded_model import LoadedModel

csv.field_size_limit(2**31 - 1)
RUNS = 5
TIMED = 256
# A stronger one fits the training rows exactly.
STRENGTH = 0.003


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--networks", nargs="+", default=[*EMBEDDED, *embedded.EMBEDDED])
    parser.add_argument("--engines", nargs="+", default=["onnx", "openvino"])
    parser.add_argument("--rows", type=int, default=10**9, help="most rows of each file")
    parser.add_argument("--model", type=Path, help="compare the answers of this model")
    parser.add_argument("--append", type=Path, help="also append the lines to this file")
    arguments = parser.parse_args()
    if arguments.model is not None:
        write({"benchmark": "engines"} | answers(arguments.model, arguments.folders[0], arguments.engines), arguments)
        return
    for name, folder in itertools.product(arguments.networks, arguments.folders):
        with tempfile.TemporaryDirectory() as scratch:
            found = measure(name, folder, Path(scratch), arguments)
        if found is not None:
            write({"benchmark": "engines", "network": name, "data": folder.name} | found, arguments)


def write(result: dict[str, Any], arguments: argparse.Namespace) -> None:
    line = json.dumps({"date": datetime.now(UTC).isoformat(timespec="seconds")} | result)
    print(line, flush=True)
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def measure(name: str, folder: Path, scratch: Path, arguments: argparse.Namespace) -> dict[str, Any] | None:
    train, test = (read(folder / file, arguments.rows) for file in ("train.csv", "test.csv"))
    columns = [column for column in train[0] if column.endswith("_text" if name in EMBEDDED else "_image")]
    if not columns:
        return None
    network = resolve(name)
    network.save(scratch)
    network.export_onnx(scratch / GRAPH)
    labels = [[row["label"] for row in rows] for rows in (train, test)]
    cells = {column: [[cell_of(network, row[column]) for row in rows] for rows in (train, test)] for column in columns}
    timed = [cell for column in columns for cell in dict.fromkeys(row[column] for row in test) if cell]
    timed = [cell_of(network, cell) for cell in timed[:: max(1, len(timed) // TIMED)]]
    milliseconds: dict[str, list[float]] = {engine: [] for engine in arguments.engines}
    vectors, sets = {}, {}
    graphs = {engine: graph_of(network, scratch / GRAPH, engine) for engine in arguments.engines}
    for engine in itertools.chain.from_iterable([arguments.engines] * (RUNS + 1)):
        network._graph = graphs[engine]
        started = time.process_time()
        vectors[engine] = network.encode(timed)
        milliseconds[engine].append(1000 * (time.process_time() - started) / len(timed))
        if engine not in sets:
            sets[engine] = [joined(network, [cells[column][part] for column in columns]) for part in (0, 1)]
    return {
        "cells": len(timed),
        "cpu_ms": {engine: round(statistics.median(values[1:]), 3) for engine, values in milliseconds.items()},
        **differences(vectors),
        "train, serve: log-loss, flips in %": losses(sets, *labels),
    }


def answers(model: Path, folder: Path, engines: Sequence[str]) -> dict[str, Any]:
    with (folder / "test_noheader.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    labels = [row["label"] for row in read(folder / "test.csv", len(rows))]
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(model) as tar:
        tar.extractall(scratch, filter="data")
        models = {engine: LoadedModel.load(Path(scratch), Engine(engine)) for engine in engines}
        found = {engine: loaded.predict(rows) for engine, loaded in models.items()}
    classes = list(models[engines[0]].classes)
    own = found[engines[0]]
    return {
        "log_loss": {name: round(log_loss(labels, given, labels=classes), 5) for name, given in found.items()},
        "flips_in_%": {name: 100 * float(np.mean(own.argmax(1) != given.argmax(1))) for name, given in found.items()},
        "largest_difference": {name: float(np.abs(own - given).max()) for name, given in found.items()},
    }


def read(path: Path, most: int) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(itertools.islice(csv.DictReader(stream), most))


def resolve(name: str) -> Backbone:
    if name in EMBEDDED:
        return TextBackbone.resolve(name)
    return ImageBackbone.resolve(name, weights_dir=Path("none"), allow_untrained=False, seed=0)


def cell_of(network: Backbone, cell: str) -> Any:
    if isinstance(network, TextBackbone) or not cell:
        return cell
    assert isinstance(network, ImageBackbone)
    return decode_images(base64.b64decode(cell), wanted=network.info.takes)[0]


def graph_of(network: Backbone, path: Path, engine: str) -> Graph | None:
    if engine == "bf16":
        return OpenVinoNetwork(path, bf16=True)
    network.use_graph(path, Engine(engine))
    return network._graph


def joined(network: Backbone, columns: Sequence[Sequence[Any]]) -> np.ndarray:
    """Return the vectors of all columns next to each other, rounded as features are. An empty cell is 0."""
    parts = []
    for cells in columns:
        filled = [row for row, cell in enumerate(cells) if len(cell)]
        part = np.zeros((len(cells), network.width), dtype=np.float32)
        part[filled] = network.encode([cells[row] for row in filled])
        parts.append(part.astype(np.float16).astype(np.float32))
    return np.concatenate(parts, axis=1)


def differences(vectors: dict[str, np.ndarray]) -> dict[str, Any]:
    first, *others = vectors
    expected = vectors[first]
    lengths = np.linalg.norm(expected, axis=1)
    found: dict[str, Any] = {"largest_difference": {}, "smallest_cosine": {}}
    for engine in others:
        given = vectors[engine]
        cosines = np.sum(given * expected, axis=1) / np.linalg.norm(given, axis=1) / lengths
        difference = np.abs(given - expected).max() / np.abs(expected).max()
        found["largest_difference"][engine] = round(float(difference), 6)
        found["smallest_cosine"][engine] = round(float(cosines.min()), 6)
    return found


def losses(sets: dict[str, list[np.ndarray]], train: list[str], test: list[str]) -> dict[str, list[float]]:
    found = {}
    for trained in sets:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=300))
        model.fit(sets[trained][0], train)
        own = model.predict(sets[trained][1])
        for served in sets:
            probabilities = model.predict_proba(sets[served][1])
            flips = 100 * float(np.mean(model.predict(sets[served][1]) != own))
            found[f"{trained}, {served}"] = [round(log_loss(test, probabilities), 4), round(flips, 2)]
    return found


if __name__ == "__main__":
    main()
