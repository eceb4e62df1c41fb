"""Jobs that go on from an earlier artifact: with more rows, the same ones, other labels, or its networks alone."""

from __future__ import annotations

import csv
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from small_job import PARAMETERS, WEIGHTS_DIR, Rows, WriteCsv

from multimodal_algo.artifact import read_config
from multimodal_algo.branches.translated import DESCRIPTION
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.errors import UserError
from multimodal_algo.report.metrics import Metrics
from multimodal_algo.serving.loaded_model import LoadedModel
from multimodal_algo.tools.sample import write_sample
from multimodal_algo.training.continuing.export import export_backbones, pretrained_networks
from multimodal_algo.training.job import ChannelPaths, JobDirectories, train


def go_on(directory: Path, channels: ChannelPaths, **parameters: str) -> Metrics:
    return train(
        channels,
        HyperParameters.parse({**PARAMETERS, **parameters}),
        JobDirectories.below(directory, weights=WEIGHTS_DIR),
    )


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def accuracy(predictor: LoadedModel, rows: Rows) -> float:
    labels = np.array([predictor.classes.index(row[-1]) for row in rows])
    return float((predictor.predict([row[:-1] for row in rows]).argmax(axis=1) == labels).mean())


@pytest.fixture(scope="session")
def later(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Rows of the sample that nobody has seen, header first."""
    directory = tmp_path_factory.mktemp("later")
    write_sample(directory, train_rows=160, test_rows=1, seed=11)
    return table(directory / "train.csv")


def test_more_rows_make_the_model_better_and_forget_nothing(
    archive: Path, artifact: Path, sample: Path, later: list[list[str]], write_csv: WriteCsv, tmp_path: Path
) -> None:
    metrics = go_on(tmp_path, ChannelPaths(write_csv("train.csv", later), model=archive.parent))
    assert metrics.previous is not None
    assert metrics.previous["shipped"] == "new"
    assert metrics.previous["rows"] > 100
    assert metrics.previous["new"]["log_loss"] <= metrics.previous["earlier"]["log_loss"]
    before, now = LoadedModel.load(artifact), LoadedModel.load(tmp_path / "model")
    assert now.classes == before.classes
    assert {"text", "earlier/text", "earlier/img/photo_image"} <= {entry.name for entry in now.config.branches}
    test = table(sample / "test.csv")[1:]
    assert accuracy(now, test) >= accuracy(before, test) - 0.05
    # The artifact stands alone, and a third job goes on from it.
    fewer = go_on(
        tmp_path / "third", ChannelPaths(write_csv("third.csv", table(sample / "test.csv")), model=tmp_path / "model")
    )
    assert fewer.previous is not None


def test_the_same_rows_again_are_recognised(
    artifact: Path, sample: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    metrics = go_on(tmp_path, ChannelPaths(sample / "train.csv", model=artifact), seed="3")
    assert "the previous model knows 160 of 160 rows" in caplog.text
    assert metrics.previous is not None
    assert metrics.previous["earlier"] == read_config(artifact).metrics["fused"]
    assert metrics.previous["rows"] == 160


@pytest.mark.parametrize("never_worse", ["true", "false"])
def test_the_earlier_model_ships_where_few_rows_make_a_worse_one(
    archive: Path, artifact: Path, later: list[list[str]], write_csv: WriteCsv, tmp_path: Path, never_worse: str
) -> None:
    data = write_csv("train.csv", later[:41])
    metrics = go_on(tmp_path, ChannelPaths(data, model=archive), never_worse=never_worse)
    assert metrics.previous is not None
    assert metrics.previous["new"]["log_loss"] > metrics.previous["earlier"]["log_loss"]
    assert metrics.previous["shipped"] == ("earlier" if never_worse == "true" else "new")
    shipped = read_config(tmp_path / "model")
    assert (shipped.files == read_config(artifact).files) == (never_worse == "true")
    if never_worse == "true":  # of the rows that it has not seen; the new one is judged on all
        assert metrics.fused["log_loss"] == pytest.approx(metrics.previous["earlier"]["log_loss"])
    assert json.loads((tmp_path / "output/metrics.json").read_text())["earlier"] == metrics.previous


def test_other_labels_are_a_new_task_that_knows_of_the_earlier_one(
    artifact: Path, later: list[list[str]], write_csv: WriteCsv, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    classes = read_config(artifact).classes
    caplog.set_level("INFO")
    header, *rows = later
    renamed = {name: name if number < 1 else f"sort {number % 2}" for number, name in enumerate(classes)}
    data = write_csv("train.csv", [header, *[[*row[:-1], renamed[row[-1]]] for row in rows]])
    metrics = go_on(tmp_path, ChannelPaths(data, model=artifact))
    assert "a new task, 2 of whose 3 classes are new" in caplog.text
    assert f"no row has these {len(classes) - 1} of the previous model's classes" in caplog.text
    assert "It cannot predict them" in caplog.text
    assert metrics.previous is None
    alone = {name: scores["log_loss"] for name, scores in metrics.modalities.items()}
    assert alone["earlier/text"] < 0.95 * np.log(3)
    assert (tmp_path / "model/earlier/text" / DESCRIPTION).is_file()
    predictor = LoadedModel.load(tmp_path / "model")
    assert predictor.classes == tuple(sorted(set(renamed.values())))
    answers = predictor.predict([row[:-1] for row in rows[:5]])
    np.testing.assert_allclose(np.concatenate([predictor.predict([row[:-1]]) for row in rows[:5]]), answers, atol=1e-4)


def test_classes_without_a_row_stay_but_are_told(
    artifact: Path, later: list[list[str]], write_csv: WriteCsv, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    classes = read_config(artifact).classes
    data = write_csv("train.csv", [later[0], *[row for row in later[1:] if row[-1] != classes[0]]])
    go_on(tmp_path, ChannelPaths(data, model=artifact), class_weights="balanced")
    assert f"no row has these 1 of the previous model's classes: {classes[0]}." in caplog.text
    assert read_config(tmp_path / "model").classes == classes


def test_other_columns_are_refused(artifact: Path, later: list[list[str]], write_csv: WriteCsv, tmp_path: Path) -> None:
    place = later[0].index("price_num")
    data = write_csv("train.csv", [[cell for n, cell in enumerate(row) if n != place] for row in later])
    with pytest.raises(UserError, match=r"other columns than the artifact of the model channel \(missing price_num\)"):
        go_on(tmp_path, ChannelPaths(data, model=artifact))


def test_exported_networks_start_another_job(archive: Path, sample: Path, tmp_path: Path) -> None:
    told = export_backbones(archive, tmp_path / "networks")
    assert [line.partition("=")[0] for line in told] == ["text_backbone", "image_backbone"]
    by_name = go_on(tmp_path / "named", ChannelPaths(sample / "train.csv"), **dict(line.split("=", 1) for line in told))
    (tmp_path / "packed").mkdir()
    with tarfile.open(tmp_path / "packed/networks.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(tmp_path / "networks", arcname=".")
    by_channel = go_on(tmp_path / "channel", ChannelPaths(sample / "train.csv", pretrained=tmp_path / "packed"))
    assert by_name.fused == by_channel.fused
    assert (
        read_config(tmp_path / "channel/model").image_backbone == read_config(tmp_path / "named/model").image_backbone
    )


def test_networks_are_found_in_a_model_archive_and_nowhere_else(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "channel").mkdir()
    (tmp_path / "channel/model.tar.gz").symlink_to(archive)
    found = pretrained_networks(tmp_path / "channel", tmp_path / "scratch")
    assert [modality.value for modality in found] == ["text", "image"]
    (tmp_path / "channel/model.tar.gz").unlink()
    (tmp_path / "channel/weights.txt").write_text("none")
    with pytest.raises(UserError, match="there are no networks"):
        pretrained_networks(tmp_path / "channel", tmp_path / "scratch")


def test_a_teacher_s_answers_are_learnt_and_nothing_of_it_ships(
    artifact: Path, sample: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    parameters = {"distill_from": "model", "tabular_hyperparameters": '{"LR": {}}'}
    metrics = go_on(tmp_path, ChannelPaths(sample / "train.csv", model=artifact), **parameters)
    assert "teacher: quality toy, right in" in caplog.text
    assert metrics.previous is None
    assert metrics.seconds["teacher"] > 0
    assert not [entry for entry in read_config(tmp_path / "model").branches if entry.name.startswith("earlier/")]
    predictor = LoadedModel.load(tmp_path / "model")
    assert accuracy(predictor, table(sample / "test.csv")[1:]) >= 0.8


def test_a_teacher_must_know_the_task(
    artifact: Path, later: list[list[str]], write_csv: WriteCsv, tmp_path: Path
) -> None:
    data = write_csv("train.csv", [later[0], *[[*row[:-1], "ab"[n % 2]] for n, row in enumerate(later[1:])]])
    with pytest.raises(UserError, match="distill_from needs a teacher with the classes of the training data"):
        go_on(tmp_path, ChannelPaths(data, model=artifact), distill_from="model")
    with pytest.raises(UserError, match="distill_from is model, but the job has no model channel"):
        go_on(tmp_path / "none", ChannelPaths(data), distill_from="model")
