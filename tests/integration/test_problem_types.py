"""Regression, class weights, metrics, many classes: fits on small data whose answer is known."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from small_job import PARAMETERS, WEIGHTS_DIR, WriteCsv

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.inference import InferenceOptions
from multimodal_algo.core.errors import UserError
from multimodal_algo.report.metrics import Metrics
from multimodal_algo.serving.decoding import Kind
from multimodal_algo.serving.loaded_model import LoadedModel
from multimodal_algo.serving.service import ModelService, ServedModel
from multimodal_algo.training.job import ChannelPaths, JobDirectories, train

WORDS = ["small", "medium", "large", "huge"]


def fit(data: Path, directory: Path, validation: Path | None = None, **parameters: str) -> tuple[LoadedModel, Metrics]:
    metrics = train(
        ChannelPaths(data, validation),
        HyperParameters.parse({**PARAMETERS, "n_mins": "0", "n_secs": "15", **parameters}),
        JobDirectories.below(directory, weights=WEIGHTS_DIR),
    )
    return LoadedModel.load(directory / "model"), metrics


def houses(rows: int, seed: int) -> list[list[str]]:
    """A price that the words and the area tell, each in part."""
    generator = np.random.default_rng(seed)
    size, area = generator.integers(4, size=rows), generator.uniform(20, 200, size=rows)
    price = 1000.0 * area + 40_000 * size + generator.normal(0, 3000, size=rows)
    return [
        [f"H{n}", f"a {WORDS[size[n]]} house", f"{area[n]:.1f}", "xy"[n % 2], f"{price[n]:.2f}"] for n in range(rows)
    ]


HOUSES = ["ID", "a_text", "area_num", "side_cat", "label"]


def test_numbers_are_predicted_as_numbers(write_csv: WriteCsv, tmp_path: Path) -> None:
    data = write_csv("train.csv", [HOUSES, *houses(300, seed=0)])
    model, metrics = fit(data, tmp_path, quality="very_light")
    assert metrics.problem_type == "regression"
    assert model.task.is_regression
    test = houses(100, seed=1)
    truth = np.array([float(row[-1]) for row in test])
    answers = model.predict([row[:-1] for row in test])[:, 0]
    error = np.sqrt(np.mean((answers - truth) ** 2))
    assert error < 0.3 * truth.std()
    assert error == pytest.approx(metrics.fused["rmse"], rel=0.4)
    assert metrics.fused["rmse"] <= min(scores["rmse"] for scores in metrics.modalities.values()) * 1.001
    options = InferenceOptions.of({}, {}, schema=model.schema, task=model.task, is_batch=True)
    service = ModelService(lambda: ServedModel(model, options), lambda: 0.0)
    assert service.load()
    body = ("\n".join(",".join(row[:-1]) for row in test[:5]) + "\nH9,,oops,x\n").encode()
    lines = service.answer(body, Kind.CSV, Kind.CSV)
    answered = list(csv.reader(lines.decode().splitlines()))
    assert [row[0] for row in answered] == [row[0] for row in test[:5]] + ["H9"]
    np.testing.assert_allclose([float(row[1]) for row in answered[:5]], answers[:5], rtol=1e-5)
    assert answered[5] == ["H9", ""]
    fields = {"SAGEMAKER_INFERENCE_OUTPUT": "prediction_interval,quantiles", "QUANTILES": "0.05,0.95"}
    options = InferenceOptions.of({}, fields, schema=model.schema, task=model.task, is_batch=True)
    service = ModelService(lambda: ServedModel(model, options), lambda: 0.0)
    assert service.load()
    lines = service.answer("\n".join(",".join(row[:-1]) for row in test).encode(), Kind.CSV, Kind.JSON_LINES)
    answered_rows = [json.loads(line) for line in lines.splitlines()]
    bounds = np.array([row["prediction_interval"] for row in answered_rows])
    assert np.mean((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])) >= 0.8
    assert (bounds[:, 0] < answers).all()
    assert (answers < bounds[:, 1]).all()
    assert list(answered_rows[0]["quantiles"].values()) == pytest.approx(bounds[0])
    held_out = list(csv.DictReader((tmp_path / "output/predictions.csv").open(encoding="utf-8", newline="")))
    errors = [abs(float(row["error"])) for row in held_out]
    assert errors == sorted(errors, reverse=True)
    page = (tmp_path / "output/report.html").read_text(encoding="utf-8")
    for heading in ("Predicted against true", "Errors against predicted", "Errors by range of the label"):
        assert heading in page


def test_labels_of_a_regression_must_be_numbers(write_csv: WriteCsv, tmp_path: Path) -> None:
    rows = houses(40, seed=0)
    rows[6][-1] = "cheap"
    data = write_csv("train.csv", [HOUSES, *rows])
    with pytest.raises(UserError, match="row 7, column label: 'cheap' is not a finite number"):
        fit(data, tmp_path, problem_type="regression")
    model, _ = fit(data, tmp_path, problem_type="regression", on_bad_row="skip", max_bad_row_fraction="0.1")
    assert model.task.is_regression


def test_a_metric_of_another_problem_type_is_refused(write_csv: WriteCsv, tmp_path: Path) -> None:
    data = write_csv("train.csv", [HOUSES, *houses(40, seed=0)])
    with pytest.raises(UserError, match="eval_metric is accuracy, but the labels ask for regression"):
        fit(data, tmp_path, eval_metric="accuracy")


def rare(rows: int, seed: int) -> list[list[str]]:
    """Every tenth row is of the rare class, which its number tells imperfectly."""
    generator = np.random.default_rng(seed)
    labels = ["rare" if n % 10 == 0 else "often" for n in range(rows)]
    return [[f"{generator.normal(label == 'rare', 1.0):.4f}", label] for label in labels]


def test_balanced_weights_find_more_of_the_rare_class(write_csv: WriteCsv, tmp_path: Path) -> None:
    data = write_csv("train.csv", [["a_num", "label"], *rare(600, seed=0)])
    _, even = fit(data, tmp_path / "even", eval_metric="balanced_accuracy")
    _, balanced = fit(data, tmp_path / "balanced", eval_metric="balanced_accuracy", class_weights="balanced")
    assert balanced.fused["balanced_accuracy"] > even.fused["balanced_accuracy"] + 0.05
    assert balanced.fused["accuracy"] < even.fused["accuracy"]
    model, named = fit(data, tmp_path / "named", class_weights='{"rare": 9}', decision_threshold="recall>=0.6")
    assert named.fused["balanced_accuracy"] > even.fused["balanced_accuracy"] + 0.05
    # The rule of the rarer class is chosen on held-out rows, and the artifact and the report have it.
    assert next(iter(named.fused)) == "average_precision"
    assert named.classes["rare"]["rows"] == 60
    assert named.decision is not None
    chosen = named.decision["thresholds"]["rare"]
    assert chosen["promised"]
    assert chosen["least_recall"] >= 0.6
    assert model.config.decision is not None
    assert model.config.decision.thresholds == {"rare": chosen["threshold"]}
    output = tmp_path / "named/output"
    assert "Thresholds of rare" in (output / "report.html").read_text(encoding="utf-8")
    held_out = list(csv.DictReader((output / "predictions.csv").open(encoding="utf-8", newline="")))
    assert sum(row["predicted_label"] == "rare" for row in held_out) == chosen["reached"]


def test_a_validation_channel_of_a_regression(write_csv: WriteCsv, tmp_path: Path) -> None:
    data = write_csv("train.csv", [HOUSES, *houses(200, seed=0)])
    few = write_csv("few.csv", [HOUSES, *houses(30, seed=1)])
    _, metrics = fit(data, tmp_path, few)
    assert metrics.measured_on == "validation channel"
    assert metrics.rows == 30
    assert metrics.problem_type == "regression"


def test_a_thousand_classes(write_csv: WriteCsv, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = [[f"word{n} word{generator.integers(1000)}", f"{n}", f"class {n:03d}"] for n in range(999) for _ in range(3)]
    rows.append(["word999", "999", "only once"])
    model, metrics = fit(write_csv("train.csv", [["a_text", "b_num", "label"], *rows]), tmp_path, n_mins="3")
    assert len(model.classes) == 1000
    assert "only once" in model.classes
    assert metrics.fused["accuracy"] > 0.5


def test_the_report_is_one_page_that_needs_nothing_else(archive: Path) -> None:
    output = archive.parent / "output" / "data"
    page = (output / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)  # links inside the page begin with #
    metrics = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    assert f"{metrics['fused']['accuracy']:.4g}" in page
    for heading in ("Confusion matrix", "Calibration", "What each modality adds", "Time spent"):
        assert heading in page
    assert metrics["without"].keys() == {"text", "num", "cat", "photo_image"}
    for scores in metrics["without"].values():
        assert scores["log_loss"] > metrics["fused"]["log_loss"] - 0.05
