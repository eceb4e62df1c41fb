"""The baseline for monitoring schedules of SageMaker Model Monitor: ``statistics.json`` and ``constraints.json``.

The schemas follow the pages "Schema for Statistics" and "Schema for Constraints" of SageMaker's documentation.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_algo.core.column_names import ColumnNames
from multimodal_algo.core.schema import ID, Modality, modality_of
from multimodal_algo.ingest.dataset import Dataset

STATISTICS = "statistics.json"
CONSTRAINTS = "constraints.json"

# Parameters of the sketch of numbers, and its number of buckets. The platform's own container uses the same values.
_C, _K, _BUCKETS = 0.64, 2048, 10
# A category with more values does not get a list of allowed values.
_MOST_VALUES = 100
_THRESHOLD = 0.1


def write_baseline(dataset: Dataset, names: ColumnNames, directory: Path) -> None:
    """Write ``statistics.json`` and ``constraints.json`` of the training rows.

    Parameters
    ----------
    dataset
        The training rows.
    names
        The user's own names of the columns.
    directory
        The platform's output directory.
    """
    statistics, constraints = [], []
    for column in dataset.schema.inference_columns:
        name = names.own(column)
        statistics.append({"name": name, **_statistics(dataset, column)})
        constraints.append({"name": name, **_constraints(dataset, column, statistics[-1])})
    _write(directory / STATISTICS, {"version": 0, "dataset": {"item_count": len(dataset)}, "features": statistics})
    _write(directory / CONSTRAINTS, {"version": 0, "features": constraints, "monitoring_config": _CONFIG})


_CONFIG = {
    "evaluate_constraints": "Enabled",
    "emit_metrics": "Enabled",
    "datatype_check_threshold": _THRESHOLD,
    "domain_content_threshold": _THRESHOLD,
    "distribution_constraints": {
        "perform_comparison": "Enabled",
        "comparison_threshold": _THRESHOLD,
        "comparison_method": "Robust",
        "categorical_comparison_threshold": _THRESHOLD,
        "categorical_drift_method": "LInfinity",
    },
}


def _statistics(dataset: Dataset, column: str) -> dict[str, Any]:
    """Return the entry of a column in ``statistics.json``: its type and statistics, without its name."""
    rows = len(dataset)
    if column == ID:
        return _string_statistics(rows, rows, Counter(dataset.names()))
    filled = dataset.features.filled(column)
    present = int(filled.sum())
    if modality_of(column) is Modality.IMAGE:
        return _string_statistics(present, rows, Counter())
    cells = dataset.features.cells[column][filled]
    if modality_of(column) is Modality.NUM:
        return _number_statistics(cells.astype(np.float64), rows)
    return _string_statistics(present, rows, Counter(cells.tolist()))


def _number_statistics(values: np.ndarray, rows: int) -> dict[str, Any]:
    is_integral = bool(len(values)) and bool(np.all(values == values.round()))
    statistics: dict[str, Any] = {"common": {"num_present": len(values), "num_missing": rows - len(values)}}
    if len(values):
        statistics |= {
            "mean": float(values.mean()), "sum": float(values.sum()), "std_dev": float(values.std()),
            "min": float(values.min()), "max": float(values.max()),
            "distribution": {"kll": {"buckets": _buckets(values), "sketch": _sketch(values)}},
        }  # fmt: skip
    return {"inferred_type": "Integral" if is_integral else "Fractional", "numerical_statistics": statistics}


def _buckets(values: np.ndarray) -> list[dict[str, float]]:
    """Return ten buckets of equal width, each with its bounds and the number of its values."""
    counts, edges = np.histogram(values, bins=_BUCKETS)
    return [
        {"lower_bound": float(low), "upper_bound": float(high), "count": float(count)}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]


def _sketch(values: np.ndarray) -> dict[str, Any]:
    """Return a KLL sketch of the values. Each value of level n stands for 2**n values. The last has at most 4,096."""
    ordered, level = np.sort(values), 0
    data: list[list[float]] = []
    while len(ordered) > 2 * _K:
        # Of each pair of neighbours, one value goes to the next level. A value without a partner stays on its level.
        data.append(ordered[len(ordered) // 2 * 2 :].tolist())
        ordered = ordered[level % 2 : len(ordered) // 2 * 2 : 2]
        level += 1
    return {"parameters": {"c": _C, "k": float(_K)}, "data": [*data, ordered.tolist()]}


def _string_statistics(present: int, rows: int, values: Counter[str]) -> dict[str, Any]:
    statistics: dict[str, Any] = {
        "common": {"num_present": present, "num_missing": rows - present},
        "distinct_count": float(len(values) if values else present),
    }
    if 0 < len(values) <= _MOST_VALUES:
        buckets = [{"value": value, "count": count} for value, count in values.most_common()]
        statistics["distribution"] = {"categorical": {"buckets": buckets}}
    return {"inferred_type": "String", "string_statistics": statistics}


def _constraints(dataset: Dataset, column: str, statistics: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of a column in ``constraints.json``, as the training rows suggest it, without its name."""
    kind = statistics["inferred_type"]
    own = statistics.get("numerical_statistics") or statistics["string_statistics"]
    constraints: dict[str, Any] = {
        "inferred_type": kind,
        "completeness": own["common"]["num_present"] / max(1, len(dataset)),
    }
    if kind != "String":
        constraints["num_constraints"] = {"is_non_negative": own.get("min", 0.0) >= 0}
    elif modality_of(column) is Modality.CAT and "distribution" in own:
        buckets: Sequence[dict[str, Any]] = own["distribution"]["categorical"]["buckets"]
        constraints["string_constraints"] = {"domains": list(_names(buckets))}
    return constraints


def _names(buckets: Sequence[dict[str, Any]]) -> Iterator[str]:
    return (bucket["value"] for bucket in buckets)


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", errors="replace")
