"""Seconds from the start of ``serve`` to its first answer, and its memory then.

    python benchmarks/start.py MODEL.tar.gz DATA/test_noheader.csv
    python benchmarks/start.py MODEL.tar.gz DATA/test_noheader.csv --other ../before/src --other-model OLD.tar.gz

Each start sends the first line of the file as soon as ``/ping`` answers 200. It is repeated five times, and medians
count. With ``--other``, the source of another commit alternates with this one. Where it cannot read the model, give
one of its own. CPU seconds and memory are those of all processes of the server: proportional set size, and the largest
resident set of one process. *heavy* lists the large libraries that the process with the model has loaded. It prints one
JSON line per source.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from unittest import mock

import psutil

from multimodal_algo.config.transform import TransformSettings
from multimodal_algo.local.runner import ProcessRunner
from multimodal_algo.local.server import LocalServer

RUNS = 5
HEAVY = ("torch", "autogluon", "onnxruntime", "openvino", "lightgbm", "catboost", "sklearn", "pandas", "pyarrow")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--other", type=Path, help="the src folder of another commit")
    parser.add_argument("--other-model", type=Path, help="a model that the other commit wrote")
    parser.add_argument("--engine", default="auto")
    arguments = parser.parse_args()
    with arguments.lines.open("rb") as stream:
        line = stream.readline()
    sources = {"this": (Path(__file__).parents[1] / "src", arguments.model)}
    if arguments.other:
        sources["other"] = arguments.other.resolve(), arguments.other_model or arguments.model
    with tempfile.TemporaryDirectory() as scratch:
        for name, (_, model) in sources.items():
            with tarfile.open(model) as tar:
                tar.extractall(Path(scratch) / name / "model", filter="data")
        found: dict[str, list[dict[str, float]]] = {name: [] for name in sources}
        for run in range(RUNS):
            for name in list(sources) if run % 2 else list(sources)[::-1]:
                found[name].append(start(Path(scratch) / name, sources[name][0], line, arguments.engine))
    for name, runs in found.items():
        medians = {key: round(statistics.median(run[key] for run in runs), 2) for key in runs[0] if key != "heavy"}
        print(json.dumps({"benchmark": "start", "source": name} | medians | {"heavy": runs[-1]["heavy"]}))


def start(base: Path, source: Path, line: bytes, engine: str) -> dict[str, float]:
    environment = {"INFERENCE_ENGINE": engine, "PYTHONPATH": str(source), "CUDA_VISIBLE_DEVICES": ""}
    started = time.perf_counter()
    with mock.patch.dict(os.environ, environment), LocalServer(ProcessRunner(), base, {}, base / "log") as server:
        ping_s = time.perf_counter() - started
        server.invoke(line, "the first line", TransformSettings(invocations_max_retries=0))
        answer_s = time.perf_counter() - started
        parent = psutil.Process(server.process.pid)
        processes = [parent, *parent.children(recursive=True)]
        times = [process.cpu_times() for process in processes]
        memory = [process.memory_full_info() for process in processes]
        files = {entry.path for process in processes for entry in process.memory_maps()}
        return {
            "ping_s": ping_s,
            "first_answer_s": answer_s,
            "cpu_s": sum(entry.user + entry.system for entry in times),
            "pss_mb": sum(entry.pss for entry in memory) / 1e6,
            "largest_rss_mb": max(entry.rss for entry in memory) / 1e6,
            "heavy": [name for name in HEAVY if any(f"/site-packages/{name}" in path for path in files)],
        }


if __name__ == "__main__":
    sys.exit(main())
