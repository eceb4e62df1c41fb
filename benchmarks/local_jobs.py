"""Train and transform a folder of data through the simulator, and print one JSON line about it.

The folder holds ``train.csv`` and ``test.csv`` (with header and label) and ``test_noheader.csv`` (the rows of
``test.csv`` as batch transform gets them), in the training format. For example::

    python benchmarks/local_jobs.py DATA/emoji -p n_mins=4 -p image_backbone=WEIGHTS/mobilenet_v2_torchvision.pth
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from multimodal_algo.core.log import configure_logging
from multimodal_algo.core.schema import LABEL
from multimodal_algo.ingest.sources import Source, read_rows
from multimodal_algo.tools.score import score_predictions

PROGRAM = [sys.executable, "-m", "multimodal_algo"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--append", type=Path, help="also append the line to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        result = measure(arguments.data, arguments.parameters, Path(scratch))
    line = json.dumps(result)
    print(line)
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def measure(data: Path, parameters: list[str], scratch: Path) -> dict[str, object]:
    options = [word for parameter in parameters for word in ("-p", parameter)]
    started = time.monotonic()
    train = [*PROGRAM, "local", "train", "--train", str(data / "train.csv"), "--output", str(scratch / "job")]
    run([*train, *options])
    job_s = time.monotonic() - started
    # The children of children count too: this is the largest process of the training job, in kB on Linux.
    train_peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    model = scratch / "job/model.tar.gz"
    transform = [*PROGRAM, "local", "transform", "--model", str(model), "--input", str(data / "test_noheader.csv")]
    told = run([*transform, "--output", str(scratch / "out")])
    rate = re.search(r"transform: (\d+) records in ([\d.]+) s", told)
    assert rate is not None
    predictions = scratch / "out/test_noheader.csv.out"
    outcome = score_predictions(predictions, data / "test.csv")
    alone, log_loss = from_artifact(model, data / "test.csv", scratch)
    config = json.loads((scratch / "model/model_config.json").read_text())
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": run(["git", "describe", "--always", "--dirty"], show=False).strip(),
        "data": data.resolve().name,
        "parameters": parameters_without_paths(parameters),
        "test_rows": outcome.rows,
        "output_lines": sum(1 for _ in predictions.open()),
        "accuracy": round(outcome.accuracy, 4),
        "log_loss": round(log_loss, 4),
        "accuracy_of_modalities": alone,
        "out_of_fold": {name: round(value, 4) for name, value in config["metrics"]["fused"].items()},
        "fit_s": round(config["metrics"]["fit_s"], 1),
        "job_s": round(job_s, 1),
        "train_peak_mb": round(train_peak_mb),
        "artifact_mb": round(model.stat().st_size / 1e6, 1),
        "transform_rows_per_s": round(int(rate[1]) / float(rate[2]), 1),
    }


def from_artifact(archive: Path, test: Path, scratch: Path) -> tuple[dict[str, float], float]:
    """Accuracy of each modality alone, and log-loss of the fused answer, from the artifact itself."""
    configure_logging()
    from multimodal_algo.serving.loaded_model import LoadedModel

    with tarfile.open(archive) as tar:
        tar.extractall(scratch / "model", filter="data")
    model = LoadedModel.load(scratch / "model")
    header, *rows = [row.fields for row in read_rows(Source(test, test.name))]
    position = header.index(LABEL)
    labels = np.array([model.classes.index(row[position]) for row in rows])
    features, _ = model.features([row[:position] + row[position + 1 :] for row in rows])
    votes = model.votes(features)
    names = [entry.name for entry in model.config.branches]
    alone = {
        name: round(float((votes.array[:, n, :-1].argmax(axis=1) == labels).mean()), 4) for n, name in enumerate(names)
    }
    chosen = model.fuse(votes)[np.arange(len(labels)), labels]
    return alone, float(-np.log(np.maximum(chosen, 1e-9)).mean())


def parameters_without_paths(parameters: list[str]) -> list[str]:
    return [f"{name}={Path(value).name}" for name, _, value in (p.partition("=") for p in parameters)]


def run(command: list[str], *, show: bool = True) -> str:
    """Run a command, pass its lines on to stderr, and return them."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if show:
            sys.stderr.write(line)
    if process.wait() != 0:
        raise SystemExit(process.returncode)
    return "".join(lines)


if __name__ == "__main__":
    main()
