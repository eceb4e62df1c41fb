from __future__ import annotations

import json
from pathlib import Path

from multimodal_algo.local.docker import DockerRunner
from multimodal_algo.local.tree import Channel, InputMode, build_training_tree, pipes_filled


def test_the_tree_has_the_platforms_files_in_their_shapes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "nested").mkdir(parents=True)
    (data / "nested/a.csv").write_text("x")
    base = tmp_path / "ml"
    build_training_tree(base, {"train": Channel(data), "validation": Channel(data / "nested/a.csv")}, {"n_mins": "3"})
    config = base / "input/config"
    assert json.loads((config / "hyperparameters.json").read_text()) == {"n_mins": "3"}
    channels = json.loads((config / "inputdataconfig.json").read_text())
    assert channels["train"] == {
        "ContentType": "text/csv",
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    assert set(channels) == {"train", "validation"}
    resources = json.loads((config / "resourceconfig.json").read_text())
    assert resources["current_host"] == "algo-1"
    assert resources["hosts"] == ["algo-1"]
    assert resources["network_interface_name"] == "eth0"
    assert (base / "input/data/train/nested/a.csv").read_text() == "x"
    assert (base / "input/data/validation/a.csv").read_text() == "x"
    assert (base / "input/data/train-manifest").is_file()


def test_a_container_is_started_as_the_platform_starts_it(tmp_path: Path) -> None:
    runner = DockerRunner("algo:1", memory="2g")
    train = runner.command("train", tmp_path, {"A": "b"}, "name")
    assert train[-2:] == ["algo:1", "train"]
    assert train[train.index("--network") + 1] == "none"
    assert train[train.index("--memory") + 1] == "2g"
    assert f"{tmp_path}:/opt/ml" in train
    assert "A=b" in train
    serve = runner.command("serve", tmp_path, {}, "name")
    assert serve[-2:] == ["algo:1", "serve"]
    assert "--read-only" in serve
    assert f"{tmp_path / 'model'}:/opt/ml/model:ro" in serve


def test_a_piped_channel_is_all_its_files_through_one_fifo(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "nested").mkdir(parents=True)
    (data / "a.csv").write_text("one\n")
    (data / "nested/b.csv").write_text("two\n" * 100_000)
    channels = {"train": Channel(data, mode=InputMode.PIPE), "unread": Channel(data, mode=InputMode.PIPE)}
    build_training_tree(tmp_path / "ml", channels, {})
    with pipes_filled(tmp_path / "ml", channels):
        assert (tmp_path / "ml/input/data/train_0").read_text() == "one\n" + "two\n" * 100_000
    config = json.loads((tmp_path / "ml/input/config/inputdataconfig.json").read_text())
    assert config["train"]["TrainingInputMode"] == "Pipe"
