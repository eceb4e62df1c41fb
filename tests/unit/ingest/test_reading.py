"""A channel is read by one work item or by many, and the dataset is the same."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.label_checks import LabelSettings
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.execution.local import HERE, LocalExecutor
from multimodal_algo.execution.protocol import Resources, WorkItem, WorkResult
from multimodal_algo.ingest import sharding
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.features import Encoders
from multimodal_algo.ingest.findings import BadRowPolicy
from multimodal_algo.ingest.parts import ReadSettings
from multimodal_algo.ingest.reading import read_channel
from multimodal_algo.ingest.sources import TableFormat

SETTINGS = ReadSettings(BadRowPolicy())


@dataclass
class Recording(LocalExecutor):
    """An executor of this process that records the names of its work items, and has the resources of a larger one."""

    resources: Resources = field(default_factory=lambda: Resources((HERE,), in_process=True))
    names: list[str] = field(default_factory=list)

    def run(self, items: Iterable[WorkItem], scratch: Path) -> Iterator[WorkResult]:
        listed = list(items)
        self.names += [item.name for item in listed]
        return super().run(listed, scratch)


def no_networks(schema: FeatureSchema) -> Encoders:
    """Return the encoders of a schema without texts and images."""
    return {}


def read(location: Path, directory: Path, executor: LocalExecutor, settings: ReadSettings = SETTINGS) -> Dataset:
    scratch = directory.with_name(f"{directory.name}.parts")
    rows = read_channel(location, directory, no_networks, settings, executor=executor, scratch=scratch)
    assert not scratch.exists()
    dataset = Dataset.read(directory)
    assert len(dataset) == rows
    return dataset


def table(rows: int) -> str:
    return "label,x_num\n" + "".join(f"{'pq'[n % 2]},{n}\n" for n in range(rows))


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sharding, "_CUT_BYTES", 0)
    monkeypatch.setattr(sharding, "CHUNK_ROWS", 20)
    path = tmp_path / "train"
    path.mkdir()
    for name, rows in (("a.csv", 10), ("b.csv", 900), ("c.csv", 10)):
        (path / name).write_text(table(rows))
    return path


@pytest.mark.parametrize(
    "resources",
    [Resources((HERE, "other"), width=1), Resources((HERE,), width=4), Resources((HERE,), gpus=2)],
    ids=["two hosts", "four at once", "two GPUs"],
)
def test_many_work_items_read_the_dataset_that_one_reads(train: Path, tmp_path: Path, resources: Resources) -> None:
    many = Recording(resources)
    dataset, expected = read(train, tmp_path / "many", many), read(train, tmp_path / "one", LocalExecutor())
    assert len(many.names) > 3
    assert len(dataset) == 920
    assert dataset.schema == expected.schema
    assert dataset.labels == expected.labels
    pd.testing.assert_frame_equal(dataset.features.table, expected.features.table)
    np.testing.assert_array_equal(dataset.keys, expected.keys)


@pytest.mark.parametrize("resources", [Resources((HERE,)), Resources((HERE,), width=4)], ids=["one", "four at once"])
@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_another_separator_changes_nothing(train: Path, tmp_path: Path, resources: Resources, delimiter: str) -> None:
    expected = read(train, tmp_path / "one", LocalExecutor())
    for path in train.iterdir():
        path.write_text(path.read_text().replace(",", delimiter))
    settings = replace(SETTINGS, table=TableFormat(delimiter))
    dataset = read(train, tmp_path / "other", Recording(resources), settings)
    assert dataset.labels == expected.labels
    pd.testing.assert_frame_equal(dataset.features.table, expected.features.table)


@pytest.mark.parametrize("resources", [Resources((HERE,)), Resources((HERE,), width=4)], ids=["one", "four at once"])
def test_broken_rows_and_repeated_headers_are_passed_over_wherever_files_are_cut(
    train: Path, tmp_path: Path, resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    expected = read(train, tmp_path / "one", LocalExecutor())
    lines = table(900).splitlines(keepends=True)
    for number in range(890, 0, -30):
        lines.insert(number, "label,x_num\n" if number % 4 else 'p,"1" 2\n')
    (train / "b.csv").write_text("".join(lines))
    settings = replace(SETTINGS, bad_rows=BadRowPolicy(skip=True, max_fraction=0.1))
    dataset = read(train, tmp_path / "other", Recording(resources), settings)
    assert dataset.labels == expected.labels
    pd.testing.assert_frame_equal(dataset.features.table, expected.features.table)
    assert "15 rows that cannot be read were skipped: train/b.csv, row 20: not well-formed CSV" in caplog.text
    assert "15 rows repeat the header, as in files that were joined, and are passed over" in caplog.text


def test_labels_that_do_not_suit_the_job_stop_the_reading(train: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, labels=LabelSettings(eval_metric="rmse"))
    with pytest.raises(UserError, match="eval_metric is rmse, but the labels ask for binary"):
        read(train, tmp_path / "dataset", LocalExecutor(), settings)


def test_one_host_that_does_one_item_at_a_time_reads_all_files_in_one(train: Path, tmp_path: Path) -> None:
    executor = Recording()
    read(train, tmp_path / "dataset", executor)
    assert executor.names == ["train, a.csv to c.csv"]


@pytest.mark.parametrize("gpus", [0, 2])
def test_a_pipe_is_read_in_one_item(tmp_path: Path, gpus: int) -> None:
    pipe = tmp_path / "train_0"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(table(30),))
    writer.start()
    executor = Recording(Resources((HERE,), gpus=gpus))
    dataset = read(pipe, tmp_path / "dataset", executor)
    writer.join()
    assert len(dataset) == 30
    assert executor.names == ["train_0, file"]


def test_several_hosts_do_not_share_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train_0")
    with pytest.raises(UserError, match="The channel 'train' comes by Pipe, which several instances cannot share"):
        read(tmp_path / "train_0", tmp_path / "dataset", Recording(Resources((HERE, "other"))))
