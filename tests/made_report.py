"""Results of training jobs, made without a fit, for tests of the report."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from multimodal_algo.config.decisions import read_settings
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.labels import Target
from multimodal_algo.core.metrics import scores_of
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.core.task import Task
from multimodal_algo.fusion.decisions import HeldOutProbabilities, choose_rule
from multimodal_algo.fusion.votes import Votes
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.features import Features
from multimodal_algo.ingest.pictures import PictureColumn
from multimodal_algo.report.importance import Importance
from multimodal_algo.report.labels import LabelIssue, LabelIssues
from multimodal_algo.report.metrics import HeldOutResults, Metrics
from multimodal_algo.report.section import ReportedJob

COLUMNS = ("label", "a_rather_long_title_of_the_article_text", "price_num", "director_cat", "photo_image")
_BRANCHES = {"text": COLUMNS[1:2], "num": COLUMNS[2:3], "cat": COLUMNS[3:4], "joint": COLUMNS[1:]}


def job_of_classes(names: Sequence[str], rows: int = 400, *, parameters: dict[str, str] | None = None) -> ReportedJob:
    """A job whose predictions are right for about two rows of three."""
    random = np.random.default_rng(0)
    truth = random.integers(len(names), size=rows)
    predictions = random.random((rows, len(names))) ** 4 + 1e-6
    predictions[np.arange(rows), truth] += 0.8 * (random.random(rows) < 0.65)
    predictions /= predictions.sum(axis=1, keepdims=True)
    return _job(Task.of_classes(len(names)), tuple(names), truth, predictions, parameters)


def job_of_numbers(rows: int = 400, *, parameters: dict[str, str] | None = None) -> ReportedJob:
    """A regression whose errors are about a tenth of the numbers."""
    random = np.random.default_rng(0)
    truth = random.lognormal(10, 1, rows)
    return _job(Task.regression(), (), truth, (truth * random.normal(1, 0.1, rows))[:, None], parameters)


def _job(
    task: Task, classes: tuple[str, ...], truth: np.ndarray, predictions: np.ndarray, parameters: dict[str, str] | None
) -> ReportedJob:
    fused = scores_of(task, truth, predictions)
    hyperparameters = HyperParameters.parse(parameters or {})
    metrics = Metrics(
        measured_on="training rows, out of fold",
        rows=len(truth),
        problem_type=task.problem_type,
        eval_metric="rmse" if task.is_regression else "log_loss",
        fused=fused,
        modalities={name: {metric: value * 0.9 for metric, value in fused.items()} for name in _BRANCHES},
        without={name: {metric: value * 0.8 for metric, value in fused.items()} for name in ("text", "photo_image")},
        fit_s=123.4,
        seconds={"ingest": 12.3, "text": 45.6, "fusion": 7.8},
    )
    array = np.zeros((len(truth), len(_BRANCHES), predictions.shape[1] + 1))
    results = HeldOutResults(
        metrics.measured_on, predictions, Votes(array), truth, _dataset(len(truth)), np.arange(len(truth))
    )
    warnings = (
        f"column director_cat: mostly unique ({len(truth)} values in {len(truth)} filled rows).",
        f"train.csv, row 3, column price_num: {'a warning with a long value, ' * 6}",
    )
    importance = [Importance(hyperparameters.column_names.own(name), "num", 0.5, 0.4, 0.6) for name in COLUMNS[1:]]
    target = Target(task, classes, truth)
    issue = LabelIssue(
        "row-1", 1, classes[0] if classes else "1", "another " * 30, 0.9, 0.01, 0.1, "strong", "a reason " * 30
    )
    issues = LabelIssues((issue,) * 3, doubtful=3, conflicting=0, rows=len(truth))
    decision = None
    if classes:
        settings = read_settings("", "", 0, 0, "__review__")
        decision = choose_rule(settings, HeldOutProbabilities(predictions, truth, classes))
    return ReportedJob(results, target, metrics, hyperparameters, len(truth), warnings, importance, decision, issues)


def _dataset(rows: int) -> Dataset:
    cells = {
        COLUMNS[1]: np.array(["W" * 90 + " a title without an end " * 5] * rows, dtype=object),
        COLUMNS[2]: np.linspace(0, 1e6, rows),
        COLUMNS[3]: np.array([f"director {row}" for row in range(rows)], dtype=object),
    }
    jpeg = _jpeg()
    spans = np.tile(np.array([[0, len(jpeg)]]), (rows, 1))
    pictures = {COLUMNS[4]: PictureColumn(np.frombuffer(jpeg, dtype=np.uint8), spans)}
    features = Features(cells, rows, {}, pictures)
    labels = tuple(map(str, range(rows)))
    keys = np.arange(1, 1 + 3 * rows, dtype=np.uint32).reshape(rows, 3)  # no two rows are alike
    return Dataset(FeatureSchema(COLUMNS), features, labels, Path("no table"), {}, 0, keys)


def _jpeg() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(255, size=(48, 48, 3), dtype=np.uint8)).save(stream, "JPEG")
    return stream.getvalue()
