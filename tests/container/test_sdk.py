"""SageMaker's own SDKs as the clients of the images."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from engine import INFERENCE, TRAINING, docker
from small_job import PARAMETERS

from multimodal_algo.tools.score import score_predictions

# Rows of the training file, and rows that both strategies answer. With SingleRecord each row is a request.
TRAINED = 500
ANSWERED = 80
# Every kind of model that a recipe may fit, and XGBoost, which the images install, too. They are small.
MODELS = {
    "GBM": {"num_boost_round": 50},
    "CAT": {"iterations": 30},
    "XT": {"n_estimators": 50},
    "RF": {"n_estimators": 50},
    "XGB": {"n_estimators": 30},
}
EMOJI = Path(os.environ.get("SHARED_DIR", "/nonexistent")) / "data/emoji"


@pytest.fixture(autouse=True)
def composed(tmp_path: Path) -> Iterator[None]:
    """Removes the containers that a test leaves in docker-compose, which the SDKs use."""
    yield
    folder = "com.docker.compose.project.working_dir"
    listed = docker("ps", "--all", f"--filter=label={folder}", "--format", f'{{{{.ID}}}} {{{{.Label "{folder}"}}}}')
    for name, _, directory in (line.partition(" ") for line in listed.splitlines()):
        if Path(directory).is_relative_to(tmp_path):
            docker("rm", "--force", name, check=False)


def run_client(python: Path, client: str, data: Path, output: Path, parameters: dict[str, str], *more: str) -> str:
    """Run a client, and return its output."""
    script = Path(__file__).with_name(client)
    command = [str(python), str(script), TRAINING, INFERENCE, str(data), str(output), json.dumps(parameters), *more]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def accuracy(output: Path, strategy: str, data: Path) -> float:
    return score_predictions(output / strategy / "test_noheader.csv.out", data / "test.csv").accuracy


def copy_rows(name: str, folder: Path, rows: int) -> None:
    """Copy the first rows of a file of emoji, the header among them."""
    with (
        (EMOJI / name).open(newline="", encoding="utf-8") as source,
        (folder / name).open("w", newline="", encoding="utf-8") as target,
    ):
        csv.writer(target, lineterminator="\n").writerows(islice(csv.reader(source), rows))


@pytest.mark.slow
def test_sdk_3_trains_and_transforms(sdk: Callable[[int], Path], sample: Path, tmp_path: Path) -> None:
    run_client(sdk(3), "sdk3_client.py", sample, tmp_path / "job", PARAMETERS)
    assert accuracy(tmp_path / "job", "MultiRecord", sample) > 0.9


@pytest.mark.slow
def test_sdk_2_on_two_instances_with_both_strategies(sdk: Callable[[int], Path], sample: Path, tmp_path: Path) -> None:
    parameters, least = PARAMETERS, 0.9
    data = sample
    if EMOJI.is_dir():  # real rows where there are any
        data = tmp_path / "data"
        data.mkdir()
        copy_rows("train.csv", data, 1 + TRAINED)
        copy_rows("test.csv", data, 1 + ANSWERED)
        copy_rows("test_noheader.csv", data, ANSWERED)
        parameters = {"quality": "very_light", "n_mins": "5", "tabular_hyperparameters": json.dumps(MODELS)}
        least = 0.85
    log = run_client(sdk(2), "sdk2_client.py", data, tmp_path / "job", parameters, "2")
    assert " 2 train together: " in log
    # There is one file, and each instance has read a section of it.
    assert set(re.findall(r"INFO (algo-\d)-\w+: image backbone: ", log)) == {"algo-1", "algo-2"}, log[:5000]
    for strategy in ("MultiRecord", "SingleRecord"):
        assert accuracy(tmp_path / "job", strategy, data) > least
