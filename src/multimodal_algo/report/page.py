"""``report.html``: the results of a training job as one self-contained page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape

from multimodal_algo.core.labels import Target
from multimodal_algo.core.metrics import calibration_curve, metrics_of
from multimodal_algo.core.schema import Modality
from multimodal_algo.report.intervals import intervals
from multimodal_algo.report.metrics import HeldOutResults, Metrics

_PAGE = "report.html"
_MOST_IN_MATRIX = 25
_MOST_LISTED = 60
_SHOWN_MISTAKES = 24
_SHOWN_CHARACTERS = 160
_PLOTTED = 1500


def write_page(
    results: HeldOutResults,
    target: Target,
    metrics: Metrics,
    quality: str,
    directory: Path,
    warnings: Sequence[str] = (),
) -> None:
    """Write ``report.html`` into the platform's output directory.

    Parameters
    ----------
    results
        Held-out rows with their predictions.
    target
        The labels of the job.
    metrics
        Scores of the predictions.
    quality
        Name of the recipe.
    directory
        The platform's output directory.
    warnings
        Warnings about the training rows.
    """
    environment = Environment(
        loader=PackageLoader("multimodal_algo.report", "."), autoescape=select_autoescape(["html"]),
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = _number
    page = environment.get_template(_PAGE).render(
        metrics=metrics,
        meanings={name: metric.meaning for name, metric in metrics_of(target.task).items()},
        intervals=intervals(results.targets, results.predictions, target.task),
        quality=quality,
        target=target,
        warnings=warnings,
        rows=len(results.targets),
        mistakes=_mistakes(results, target),
        **(_regression_values(results) if target.task.is_regression else _class_values(results, target)),
    )
    (directory / _PAGE).write_text(page, encoding="utf-8")


@dataclass(frozen=True)
class _Mistake:
    name: str
    label: str
    predicted: str
    detail: str
    picture: str | None
    cells: list[tuple[str, str]]


def _class_values(results: HeldOutResults, target: Target) -> dict[str, Any]:
    n_classes = len(target.classes)
    predicted = results.predictions.argmax(axis=1)
    counts = np.bincount(results.targets, minlength=n_classes)
    predicted_counts = np.bincount(predicted, minlength=n_classes)
    pairs, times = np.unique(np.stack([results.targets, predicted]), axis=1, return_counts=True)
    cells = {(int(a), int(b)): int(n) for (a, b), n in zip(pairs.T, times, strict=True)}
    frequent = [int(label) for label in np.argsort(-counts, kind="stable") if counts[label]]
    classes = []
    for label in frequent[:_MOST_LISTED]:
        right = cells.get((label, label), 0)
        recall, precision = right / counts[label], right / predicted_counts[label] if predicted_counts[label] else 0.0
        f1 = 2 * precision * recall / (precision + recall) if right else 0.0
        classes.append((target.classes[label], int(counts[label]), precision, recall, f1))
    confused = sorted(((n, a, b) for (a, b), n in cells.items() if a != b), key=lambda pair: (-pair[0], pair[1:]))
    return {
        "classes": classes,
        "more_classes": len(frequent) - len(classes),
        "matrix": _matrix(frequent, cells, counts, target) if len(frequent) <= _MOST_IN_MATRIX else [],
        "confused": [(target.classes[a], target.classes[b], n, n / int(counts[a])) for n, a, b in confused[:15]],
        "curve": calibration_curve(results.targets, results.predictions),
    }


def _matrix(
    labels: Sequence[int], cells: dict[tuple[int, int], int], counts: np.ndarray, target: Target
) -> list[tuple[str, list[tuple[int, float, bool]]]]:
    """Return a row per true class: its name, then per predicted class the number, the share and whether it is right."""
    return [
        (target.classes[a], [(cells.get((a, b), 0), cells.get((a, b), 0) / int(counts[a]), a == b) for b in labels])
        for a in labels
    ]


def _regression_values(results: HeldOutResults) -> dict[str, Any]:
    rows = np.arange(len(results.targets))
    if len(rows) > _PLOTTED:
        rows = np.random.default_rng(0).choice(rows, _PLOTTED, replace=False)
    truth, predictions = results.targets[rows], results.predictions[rows, 0]
    low, high = float(min(truth.min(), predictions.min())), float(max(truth.max(), predictions.max()))
    span = high - low or 1.0
    points = [((a - low) / span, (b - low) / span) for a, b in zip(truth.tolist(), predictions.tolist(), strict=True)]
    return {"points": points, "low": low, "high": high}


def _mistakes(results: HeldOutResults, target: Target) -> list[_Mistake]:
    """Return the wrong rows whose label has the least probability, or the rows with the largest errors."""
    if target.task.is_regression:
        errors = results.predictions[:, 0] - results.targets
        order = np.argsort(-np.abs(errors), kind="stable")[:_SHOWN_MISTAKES]
    else:
        label_probability = results.predictions[np.arange(len(results.targets)), results.targets]
        wrong = results.predictions.argmax(axis=1) != results.targets
        order = np.argsort(np.where(wrong, label_probability, np.inf), kind="stable")[
            : min(_SHOWN_MISTAKES, int(wrong.sum()))
        ]
    names = results.names()
    return [_mistake(results, target, int(row), names[row]) for row in order]


def _mistake(results: HeldOutResults, target: Target, row: int, name: str) -> _Mistake:
    position, prediction = int(results.rows[row]), results.predictions[row]
    dataset = results.dataset
    cells = []
    for modality in (Modality.TEXT, Modality.CAT, Modality.NUM):
        for column in dataset.schema.of(modality):
            value = dataset.features.cells[column][position]
            text = "" if value != value else _number(value) if isinstance(value, float) else str(value)
            if text:
                cells.append((column, text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"))
    jpegs = [pictures.jpeg(position) for pictures in dataset.features.pictures.values()]
    jpeg = next((picture for picture in jpegs if picture is not None), None)
    picture = None if jpeg is None else "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
    if target.task.is_regression:
        label, predicted = _number(results.targets[row]), _number(prediction[0])
        return _Mistake(
            name, label, predicted, f"off by {_number(prediction[0] - results.targets[row])}", picture, cells
        )
    label, best = results.targets[row], int(prediction.argmax())
    detail = f"{prediction[best]:.1%} against {prediction[label]:.1%}"
    return _Mistake(name, target.classes[label], target.classes[best], detail, picture, cells)


def _number(value: float) -> str:
    """Format a number with four significant digits, and all digits before the point."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
