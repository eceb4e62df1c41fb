"""Shared fixtures: small real data, and one real artifact that the simulator trains on it."""

from __future__ import annotations

import csv
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from small_job import UNHURRIED, Rows, WriteCsv

from multimodal_algo.local import ChannelData, TrainingJob, train
from multimodal_algo.tools.sample import write_sample

MakeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session", autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Removes what killed processes leave. The path is short, because the paths of Ray's sockets begin with it."""
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
def make_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> MakeOnce:
    """Makes a directory once for all processes of a test run, and returns its path. Tests do not change it.

    A process of pytest-xdist has session fixtures of its own. See "Making session-scoped fixtures execute only once" in
    the documentation of pytest-xdist.
    """
    # Below the directory of the run, which has one directory for each process.
    base = tmp_path_factory.getbasetemp()
    run = base if worker_id == "master" else base.parent

    def make_once(name: str, make: Callable[[Path], object]) -> Path:
        directory, made = run / f"shared-{name}", run / f"shared-{name}.made"
        with FileLock(run / f"shared-{name}.lock"):
            if not made.exists():
                shutil.rmtree(directory, ignore_errors=True)
                directory.mkdir()
                make(directory)
                made.touch()
        return directory

    return make_once


@pytest.fixture(scope="session")
def sample(make_once: MakeOnce) -> Path:
    """A folder with the sample's train.csv, test.csv and test_noheader.csv."""
    return make_once("sample", lambda directory: write_sample(directory, train_rows=160, test_rows=40))


@pytest.fixture(scope="session")
def archive(sample: Path, make_once: MakeOnce) -> Path:
    """The model.tar.gz of a real training job on the sample. The rest of the job's folder is next to it."""
    job = TrainingJob({"train": ChannelData(sample / "train.csv")}, UNHURRIED)
    return make_once("job", lambda directory: train(job, output=directory)) / "model.tar.gz"


@pytest.fixture(scope="session")
def artifact(archive: Path, make_once: MakeOnce) -> Path:
    """The artifact, extracted."""

    def extract(directory: Path) -> None:
        with tarfile.open(archive) as tar:
            tar.extractall(directory, filter="data")

    return make_once("artifact", extract)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A volume of 64 kB."""
    directory = tmp_path / "volume"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(directory)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a volume")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)
