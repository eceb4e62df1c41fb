"""The files of metrics for SageMaker Pipelines: ``evaluation.json`` and ``model_quality_constraints.json``.

Metrics are grouped and named as in Model Monitor's monitoring of model quality, for example
``multiclass_classification_metrics.accuracy.value``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from multimodal_algo.core.metrics import metrics_of
from multimodal_algo.core.task import ProblemType, Task
from multimodal_algo.report.metrics import Metrics

EVALUATION = "evaluation.json"
QUALITY_CONSTRAINTS = "model_quality_constraints.json"

_GROUPS: dict[ProblemType, str] = {
    "binary": "binary_classification",
    "multiclass": "multiclass_classification",
    "regression": "regression",
}
# The platform's names of metrics that it computes itself. A constraint needs such a name.
_PLATFORM_NAMES = {"accuracy": "accuracy", "rmse": "rmse", "mae": "mae", "r2": "r2"}


def write_evaluation(metrics: Metrics, task: Task, directory: Path) -> None:
    """Write ``evaluation.json`` and ``model_quality_constraints.json`` into the output directory of the job.

    Parameters
    ----------
    metrics
        The metrics of the model that ships.
    task
        The task of the model, which determines the group of the metrics.
    directory
        The platform's output directory.
    """
    group = _GROUPS[task.problem_type]
    values: dict[str, Any] = {name: {"value": value} for name, value in metrics.fused.items()}
    if "rmse" in metrics.fused:
        values["mse"] = {"value": metrics.fused["rmse"] ** 2}
    dataset = {"item_count": metrics.rows, "measured_on": metrics.measured_on}
    _write(directory / EVALUATION, {"version": 0.0, "dataset": dataset, f"{group}_metrics": values})
    known = metrics_of(task)
    constraints = {
        _PLATFORM_NAMES[name]: {
            "threshold": value,
            "comparison_operator": "LessThanThreshold" if known[name].greater_is_better else "GreaterThanThreshold",
        }
        for name, value in metrics.fused.items()
        if name in _PLATFORM_NAMES
    }
    _write(directory / QUALITY_CONSTRAINTS, {"version": 0.0, f"{group}_constraints": constraints})


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
