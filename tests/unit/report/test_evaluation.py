"""``evaluation.json`` has the metrics below the names that Pipelines' conditions ask for."""

from __future__ import annotations

import json
from pathlib import Path

from multimodal_algo.core.task import ProblemType, Task
from multimodal_algo.report.evaluation import EVALUATION, QUALITY_CONSTRAINTS, write_evaluation
from multimodal_algo.report.metrics import Metrics


def metrics(problem_type: ProblemType, scores: dict[str, float]) -> Metrics:
    return Metrics("rows", 80, problem_type, "auto", scores, {}, {}, 1.0, {})


def test_classes(tmp_path: Path) -> None:
    write_evaluation(metrics("multiclass", {"accuracy": 0.9, "log_loss": 0.3}), Task.of("multiclass", 3), tmp_path)
    evaluation = json.loads((tmp_path / EVALUATION).read_text())
    assert evaluation["multiclass_classification_metrics"] == {"accuracy": {"value": 0.9}, "log_loss": {"value": 0.3}}
    assert evaluation["dataset"]["item_count"] == 80
    constraints = json.loads((tmp_path / QUALITY_CONSTRAINTS).read_text())
    assert constraints["multiclass_classification_constraints"] == {
        "accuracy": {"threshold": 0.9, "comparison_operator": "LessThanThreshold"}
    }


def test_numbers(tmp_path: Path) -> None:
    write_evaluation(metrics("regression", {"rmse": 2.0, "r2": 0.5}), Task.of("regression", 0), tmp_path)
    evaluation = json.loads((tmp_path / EVALUATION).read_text())
    assert evaluation["regression_metrics"]["mse"] == {"value": 4.0}
    constraints = json.loads((tmp_path / QUALITY_CONSTRAINTS).read_text())["regression_constraints"]
    assert constraints["rmse"]["comparison_operator"] == "GreaterThanThreshold"
    assert constraints["r2"]["comparison_operator"] == "LessThanThreshold"
