from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from multimodal_algo.cli import main
from multimodal_algo.local import TrainingJob
from multimodal_algo.local.docker import DockerRunner
from multimodal_algo.local.tree import ChannelData, InputMode, build_training_tree, filled_pipes


def test_the_tree_has_the_platforms_files_in_their_shapes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "nested").mkdir(parents=True)
    (data / "nested/a.csv").write_text("x")
    base = tmp_path / "ml"
    build_training_tree(
        base, {"train": ChannelData(data), "validation": ChannelData(data / "nested/a.csv")}, {"n_mins": "3"}
    )
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
    build_training_tree(tmp_path / "ml", {}, {})
    runner = DockerRunner("algo:1", memory="2g")
    train = runner.command("train", tmp_path / "ml", {"A": "b"}, "name")
    assert train[-2:] == ["algo:1", "train"]
    assert train[train.index("--network") + 1] == "none"
    assert train[train.index("--memory") + 1] == "2g"
    mounted = {train[place + 1] for place, word in enumerate(train) if word == "-v"}
    names = ("checkpoints", "input", "model", "output")
    assert mounted == {f"{tmp_path}/ml/{name}:/opt/ml/{name}" for name in names}
    assert "A=b" in train
    serve = runner.command("serve", tmp_path, {}, "name")
    assert serve[-2:] == ["algo:1", "serve"]
    assert "--read-only" in serve
    assert f"{tmp_path / 'model'}:/opt/ml/model:ro" in serve


def test_a_folder_of_checkpoints_is_the_trees_own_for_a_process_and_for_a_container(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "state.json").write_text("{}")
    base = tmp_path / "ml"
    build_training_tree(base, {}, {}, kept)
    assert (base / "checkpoints/state.json").read_text() == "{}"
    (base / "checkpoints/part").mkdir()
    assert (kept / "part").is_dir()
    assert f"{kept}:/opt/ml/checkpoints" in DockerRunner("algo:1").command("train", base, {}, "name")
    config = json.loads((base / "input/config/checkpointconfig.json").read_text())
    assert config == {"LocalPath": "/opt/ml/checkpoints", "S3Uri": kept.as_uri()}


def test_without_a_folder_checkpoints_are_empty_and_not_configured(tmp_path: Path) -> None:
    build_training_tree(tmp_path / "ml", {}, {})
    assert list((tmp_path / "ml/checkpoints").iterdir()) == []
    assert not (tmp_path / "ml/input/config/checkpointconfig.json").exists()


def test_a_user_names_models_of_previous_jobs_and_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[TrainingJob] = []
    monkeypatch.setattr("multimodal_algo.local.train", lambda job, **options: jobs.append(job))
    (tmp_path / "train.csv").write_text("x")
    (tmp_path / "model.tar.gz").write_text("x")
    (tmp_path / "networks").mkdir()
    words = ["local", "train", "--train", f"{tmp_path}/train.csv", "--output", f"{tmp_path}/job",
             "--model", f"{tmp_path}/model.tar.gz", "--pretrained", f"{tmp_path}/networks",
             "--checkpoints", f"{tmp_path}/kept"]  # fmt: skip
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    [job] = jobs
    archive = "application/x-sagemaker-model"
    assert job.channels == {
        "train": ChannelData(tmp_path / "train.csv"),
        "model": ChannelData(tmp_path / "model.tar.gz", archive),
        "pretrained": ChannelData(tmp_path / "networks", archive),
    }
    assert job.checkpoints == tmp_path / "kept"


def test_an_archive_lies_in_its_channel_as_it_is(tmp_path: Path) -> None:
    archive = "application/x-sagemaker-model"
    (tmp_path / "model.tar.gz").write_bytes(b"not extracted")
    (tmp_path / "networks/text").mkdir(parents=True)
    (tmp_path / "networks/text/weights").write_text("x")
    channels = {
        "model": ChannelData(tmp_path / "model.tar.gz", archive),
        "pretrained": ChannelData(tmp_path / "networks", archive),
    }
    build_training_tree(tmp_path / "ml", channels, {})
    data = tmp_path / "ml/input/data"
    assert (data / "model/model.tar.gz").read_bytes() == b"not extracted"
    assert (data / "pretrained/text/weights").read_text() == "x"
    config = json.loads((tmp_path / "ml/input/config/inputdataconfig.json").read_text())
    assert (config["model"]["ContentType"], config["model"]["TrainingInputMode"]) == (archive, "File")


def test_a_piped_channel_is_all_its_files_through_one_fifo(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "nested").mkdir(parents=True)
    (data / "a.csv").write_text("one\n")
    (data / "nested/b.csv").write_text("two\n" * 100_000)
    channels = {"train": ChannelData(data, mode=InputMode.PIPE), "unread": ChannelData(data, mode=InputMode.PIPE)}
    build_training_tree(tmp_path / "ml", channels, {})
    with filled_pipes(tmp_path / "ml", channels):
        assert (tmp_path / "ml/input/data/train_0").read_text() == "one\n" + "two\n" * 100_000
    config = json.loads((tmp_path / "ml/input/config/inputdataconfig.json").read_text())
    assert config["train"]["TrainingInputMode"] == "Pipe"
