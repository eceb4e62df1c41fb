"""Jobs on several hosts, each a real container; one network between them and nothing else."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cluster import Cluster
from engine import INFERENCE
from small_job import PARAMETERS, UNHURRIED

from multimodal_algo.artifact import read_config
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.local.training import pack

ROWS = 160
FILES = 4
# Of each of the two files of `texts`, and which host has which of them.
TEXTS = 30
SHARES = (("part-1.csv",), ("part-0.csv",))

pytestmark = pytest.mark.slow


def write_files(source: Path, folder: Path, rows: int, files: int, columns: Iterable[str] | None = None) -> Path:
    """The first rows of a CSV file, dealt to several files."""
    with source.open(newline="", encoding="utf-8") as stream:
        table = csv.DictReader(stream)
        names = [name for name in table.fieldnames or [] if columns is None or name in columns]
        first = [row for row, _ in zip(table, range(rows), strict=False)]
    folder.mkdir(parents=True)
    for number in range(files):
        with (folder / f"part-{number}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(first[number * rows // files : (number + 1) * rows // files])
    return folder


@pytest.fixture(scope="module")
def rows(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of all modalities in four files."""
    return write_files(sample / "train.csv", tmp_path_factory.mktemp("rows") / "train", ROWS, FILES)


@pytest.fixture(scope="module")
def texts(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of text alone, in two files."""
    folder = tmp_path_factory.mktemp("texts") / "train"
    with (sample / "train.csv").open(encoding="utf-8", newline="") as stream:
        header = next(csv.reader(stream))
    columns = ["label", *(name for name in header if name.endswith("_text"))]
    return write_files(sample / "train.csv", folder, 2 * TEXTS, 2, columns)


def metrics(base: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((base / "output/data/metrics.json").read_text())
    return content


def assert_like(base: Path, alone: Path) -> None:
    """A job has the same results as the job on one host."""
    one, other = (Dataset.read(tree / "checkpoints/data/train") for tree in (alone, base))
    assert one.labels == other.labels
    assert one.names() == other.names()
    assert np.array_equal(one.keys, other.keys)
    # These branches do not have a network. With the same folds and seed they are the same.
    for branch in ("num", "cat"):
        expected, votes = (np.load(tree / f"checkpoints/models/{branch}/votes.npy") for tree in (alone, base))
        assert votes == pytest.approx(expected, abs=1e-5)
    first, second = metrics(alone), metrics(base)
    assert first["modalities"].keys() == second["modalities"].keys()
    assert second["fused"]["accuracy"] == pytest.approx(first["fused"]["accuracy"], abs=0.02)
    assert second["fused"]["log_loss"] == pytest.approx(first["fused"]["log_loss"], abs=0.05)
    assert read_config(base / "model").classes == read_config(alone / "model").classes


def assert_all_failed_alike(cluster: Cluster, hosts: Iterable[str]) -> str:
    """Every host has ended with 1 and the same reason."""
    reasons = {cluster.failure(host) for host in hosts}
    assert len(reasons) == 1
    (reason,) = reasons
    assert reason is not None
    assert not any((cluster.tree(host) / "model/model_config.json").exists() for host in hosts)
    return reason


@dataclass(frozen=True)
class Alone:
    """A job of two hosts with ``distribution=off``: the tree of the host that trains, and the log and exit codes."""

    tree: Path
    log: str
    codes: dict[str, int]


@pytest.fixture(scope="module")
def alone(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """The same job on one host, while the other one waits."""
    parameters = {**UNHURRIED, "distribution": "off"}
    with Cluster(tmp_path_factory.mktemp("alone"), 2, {"train": rows}, parameters) as cluster:
        cluster.start()
        codes = cluster.wait()
        return Alone(cluster.tree("algo-1"), cluster.log("algo-1"), codes)


def test_distribution_off_trains_on_the_first_host_and_the_others_wait(
    alone: Alone, texts: Path, tmp_path: Path
) -> None:
    assert alone.codes == {"algo-1": 0, "algo-2": 0}, alone.log[-3000:]
    assert "algo-2:" not in alone.log
    read_config(alone.tree / "model")
    with Cluster(tmp_path, 2, {"train": texts}, {**PARAMETERS, "distribution": "off"}) as cluster:
        cluster.shard("train", SHARES)
        cluster.start()
        assert cluster.wait() == {"algo-1": 1, "algo-2": 1}
        assert "distribution=off trains on one host" in assert_all_failed_alike(cluster, cluster.hosts)


def test_two_hosts_train_what_one_trains_and_a_third_that_is_killed_costs_no_more_than_its_work(
    rows: Path, sample: Path, alone: Alone, tmp_path: Path
) -> None:
    with Cluster(tmp_path, 3, {"train": rows}, UNHURRIED) as cluster:
        cluster.start()
        cluster.wait_for("algo-1", " INFO labels: ")
        cluster.kill("algo-2")
        codes = cluster.wait()
        log = cluster.log("algo-1")
    assert codes == {"algo-1": 0, "algo-2": 137, "algo-3": 0}, log[-3000:]
    assert "hosts: algo-2 was lost. The other hosts do its work again" in log
    together = cluster.tree("algo-1")
    # Each has read files and fitted branches.
    for host in ("algo-1", "algo-3"):
        assert f"INFO {host}: image backbone: " in log
        assert re.search(rf"INFO {host}: [a-z_/]+: fitted on \d+ of {ROWS} rows", log)
        assert cluster.failure(host) is None
    assert not list((cluster.tree("algo-3") / "model").iterdir())
    assert not list((cluster.tree("algo-3") / "output/data").iterdir())

    assert_like(together, alone.tree)

    # The artifact serves as any other.
    lines = (sample / "test_noheader.csv").read_text(encoding="utf-8").split("\n")[:20]
    (tmp_path / "lines.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    pack(together / "model", tmp_path / "model.tar.gz")
    command = [sys.executable, "-m", "multimodal_algo", "local", "transform", "--image", INFERENCE]
    files = ["--model", tmp_path / "model.tar.gz", "--input", tmp_path / "lines.csv", "--output", tmp_path / "answers"]
    subprocess.run([*command, *files], check=True)
    assert len((tmp_path / "answers/lines.csv.out").read_text().splitlines()) == len(lines)


def test_the_first_host_lost_fails_the_others_and_the_job_goes_on_from_its_checkpoints(
    rows: Path, alone: Alone, tmp_path: Path
) -> None:
    with Cluster(tmp_path / "killed", 2, {"train": rows}, UNHURRIED) as cluster:
        cluster.start()
        # On a busy machine the branch that was begun first may be finished before the shorter one.
        cluster.wait_for("algo-1", ": joint: ", checkpoint="models/text")
        cluster.kill("algo-1")
        assert cluster.wait() == {"algo-1": 137, "algo-2": 1}
        reason = cluster.failure("algo-2")
    assert reason is not None
    assert reason.startswith("algo-1, the first host, was lost.")
    kept = cluster.tree("algo-1") / "checkpoints"
    # It may as well go on alone.
    with Cluster(tmp_path / "again", 1, {"train": rows}, UNHURRIED) as again:
        shutil.rmtree(again.tree("algo-1") / "checkpoints")
        shutil.copytree(kept, again.tree("algo-1") / "checkpoints")
        again.start()
        assert again.wait() == {"algo-1": 0}, again.log("algo-1")[-3000:]
        log = again.log("algo-1")
    assert f"ingest: {ROWS} rows of train taken from the checkpoint of a previous start" in log
    assert "text: taken from the checkpoint of a previous start" in log
    assert_like(again.tree("algo-1"), alone.tree)


def test_a_host_that_never_comes_fails_the_job_by_name(texts: Path, tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, {"train": texts}, PARAMETERS, {"HOSTS_TIMEOUT_S": "8"}) as cluster:
        cluster.start(["algo-1", "algo-2"])
        assert cluster.wait() == {"algo-1": 1, "algo-2": 1}
        reason = assert_all_failed_alike(cluster, ["algo-1", "algo-2"])
    assert reason.startswith("algo-1: algo-3 has not come within 8 s, of the hosts algo-1, algo-2, algo-3.")


def test_a_share_of_the_files_on_each_host_and_a_network_that_both_fine_tune(texts: Path, tmp_path: Path) -> None:
    tuned = json.dumps({"optim.max_epochs": 1, "env.num_nodes": 2})
    with Cluster(
        tmp_path, 2, {"train": texts}, {**PARAMETERS, "n_mins": "4", "text_hyperparameters": tuned}
    ) as cluster:
        cluster.shard("train", SHARES)
        cluster.start()
        assert cluster.wait() == {"algo-1": 0, "algo-2": 0}, cluster.log("algo-1")[-3000:]
        log = cluster.log("algo-1")
    dataset = Dataset.read(cluster.tree("algo-1") / "checkpoints/data/train")
    # In the order of the files' names, whoever has them.
    expected: list[str] = []
    for file in ("part-0.csv", "part-1.csv"):
        with (texts / file).open(newline="", encoding="utf-8") as stream:
            expected += [row["label"] for row in csv.DictReader(stream)]
    assert list(dataset.labels) == expected
    # A part is fitted again where Ray lost a process.
    assert set(re.findall(r": part (\d) fitted by 2 processes in ", log)) == {"0", "1", "2"}
    assert {"text", "text_tuned"} <= metrics(cluster.tree("algo-1"))["modalities"].keys()


def test_a_fault_in_a_file_of_one_host_fails_all(texts: Path, tmp_path: Path) -> None:
    with Cluster(tmp_path, 2, {"train": texts}, PARAMETERS) as cluster:
        cluster.shard("train", SHARES)
        path = cluster.tree("algo-2") / "input/data/train/part-0.csv"
        lines = path.read_text(encoding="utf-8")
        path.unlink()  # it may be a link
        path.write_text(lines + "far,too,many,fields,here\n", encoding="utf-8")
        cluster.start()
        assert cluster.wait() == {"algo-1": 1, "algo-2": 1}
        reason = assert_all_failed_alike(cluster, cluster.hosts)
    assert reason.startswith(f"algo-1: train/part-0.csv, row {TEXTS + 1} (line ")
    assert ": 5 fields instead of " in reason
