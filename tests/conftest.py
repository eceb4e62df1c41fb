"""Shared fixtures: small real data, and one real artifact trained on it by the simulator."""

from __future__ import annotations

import csv
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_job import PARAMETERS, Rows, WriteCsv

from multimodal_algo.local import Channel, TrainingJob, train
from multimodal_algo.tools.sample import write_sample


@pytest.fixture(scope="session", autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Removes what killed processes have left; a short path, as Ray's sockets lie in it."""
    tmp_path_factory.getbasetemp()  # which stays where it is
    with pytest.MonkeyPatch.context() as patch:
        directory = tempfile.mkdtemp(prefix="mm-")
        patch.setenv("TMPDIR", directory)
        patch.setattr(tempfile, "tempdir", None)
        yield
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def write_csv(tmp_path: Path) -> WriteCsv:
    """Writes rows (header first) to a CSV file below the test's directory."""

    def write(name: str, rows: Rows) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows(rows)
        return path

    return write


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample's train.csv, test.csv and test_noheader.csv."""
    directory = tmp_path_factory.mktemp("sample")
    write_sample(directory, train_rows=160, test_rows=40)
    return directory


@pytest.fixture(scope="session")
def archive(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model.tar.gz of a real training job on the sample."""
    job = TrainingJob({"train": Channel(sample / "train.csv")}, PARAMETERS)
    return train(job, output=tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="session")
def artifact(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact, extracted."""
    directory = tmp_path_factory.mktemp("artifact")
    with tarfile.open(archive) as tar:
        tar.extractall(directory, filter="data")
    return directory
