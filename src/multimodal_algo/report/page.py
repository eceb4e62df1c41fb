"""``report.html``: what a training job tells, as one self-contained page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape

from multimodal_algo.core.labels import Target
from multimodal_algo.core.metrics import calibration_curve
from multimodal_algo.core.schema import Modality
from multimodal_algo.report.intervals import intervals
from multimodal_algo.report.metrics import HeldOutResults, Metrics

_PAGE = "report.html"
_MOST_IN_MATRIX = 25
_MOST_LISTED = 60
_SHOWN_MISTAKES = 24
_SHOWN_CHARACTERS = 160
_PLOTTED = 1500

_TOLD = {
    "accuracy": "share of rows whose likeliest class is the true one",
    "log_loss": "mean negative log-probability of the true class: less is better",
    "f1_macro": "mean F1 of the classes, rare ones counting as much as frequent ones",
    "balanced_accuracy": "mean recall of the classes",
    "roc_auc": "how well each class's probability ranks its rows before others",
    "calibration_error": "mean distance between probability and share of right rows, 15 bins: less is better",
    "rmse": "root mean squared error: less is better",
    "mae": "mean absolute error: less is better",
    "r2": "share of the variance that is explained",
}


def write_page(judged: HeldOutResults, target: Target, metrics: Metrics, quality: str, directory: Path) -> None:
    """Write ``report.html`` into the platform's output directory.

    Parameters
    ----------
    judged
        Held-out rows and answers.
    target
        What is predicted.
    metrics
        Scores of them.
    quality
        The recipe.
    directory
        Where the page goes.
    """
    environment = Environment(
        loader=PackageLoader("multimodal_algo.report", "."), autoescape=select_autoescape(["html"]),
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = _number
    page = environment.get_template(_PAGE).render(
        metrics=metrics,
        told=_TOLD,
        intervals=intervals(judged.targets, judged.answers, target.task),
        quality=quality,
        target=target,
        rows=len(judged.targets),
        mistakes=_mistakes(judged, target),
        **(_of_numbers(judged) if target.task.is_regression else _of_classes(judged, target)),
    )
    (directory / _PAGE).write_text(page, encoding="utf-8")


@dataclass(frozen=True)
class _Mistake:
    name: str
    label: str
    predicted: str
    told: str
    picture: str | None
    cells: list[tuple[str, str]]


def _of_classes(judged: HeldOutResults, target: Target) -> dict[str, Any]:
    n_classes = len(target.classes)
    predicted = judged.answers.argmax(axis=1)
    counts = np.bincount(judged.targets, minlength=n_classes)
    said = np.bincount(predicted, minlength=n_classes)
    pairs, times = np.unique(np.stack([judged.targets, predicted]), axis=1, return_counts=True)
    cells = {(int(a), int(b)): int(n) for (a, b), n in zip(pairs.T, times, strict=True)}
    frequent = [int(label) for label in np.argsort(-counts, kind="stable") if counts[label]]
    classes = []
    for label in frequent[:_MOST_LISTED]:
        right = cells.get((label, label), 0)
        recall, precision = right / counts[label], right / said[label] if said[label] else 0.0
        f1 = 2 * precision * recall / (precision + recall) if right else 0.0
        classes.append((target.classes[label], int(counts[label]), precision, recall, f1))
    confused = sorted(((n, a, b) for (a, b), n in cells.items() if a != b), key=lambda pair: (-pair[0], pair[1:]))
    return {
        "classes": classes,
        "more_classes": len(frequent) - len(classes),
        "matrix": _matrix(frequent, cells, counts, target) if len(frequent) <= _MOST_IN_MATRIX else [],
        "confused": [(target.classes[a], target.classes[b], n, n / int(counts[a])) for n, a, b in confused[:15]],
        "curve": calibration_curve(judged.targets, judged.answers),
    }


def _matrix(
    labels: Sequence[int], cells: dict[tuple[int, int], int], counts: np.ndarray, target: Target
) -> list[tuple[str, list[tuple[int, float, bool]]]]:
    """Per true class its name, and per predicted class the rows, their share, and whether they are right."""
    return [
        (target.classes[a], [(cells.get((a, b), 0), cells.get((a, b), 0) / int(counts[a]), a == b) for b in labels])
        for a in labels
    ]


def _of_numbers(judged: HeldOutResults) -> dict[str, Any]:
    rows = np.arange(len(judged.targets))
    if len(rows) > _PLOTTED:
        rows = np.random.default_rng(0).choice(rows, _PLOTTED, replace=False)
    truth, answers = judged.targets[rows], judged.answers[rows, 0]
    low, high = float(min(truth.min(), answers.min())), float(max(truth.max(), answers.max()))
    span = high - low or 1.0
    points = [((a - low) / span, (b - low) / span) for a, b in zip(truth.tolist(), answers.tolist(), strict=True)]
    return {"points": points, "low": low, "high": high}


def _mistakes(judged: HeldOutResults, target: Target) -> list[_Mistake]:
    """The rows whose label the answer finds least likely, or the numbers that are furthest off."""
    if target.task.is_regression:
        errors = judged.answers[:, 0] - judged.targets
        order = np.argsort(-np.abs(errors), kind="stable")[:_SHOWN_MISTAKES]
    else:
        of_label = judged.answers[np.arange(len(judged.targets)), judged.targets]
        wrong = judged.answers.argmax(axis=1) != judged.targets
        order = np.argsort(np.where(wrong, of_label, np.inf), kind="stable")[: min(_SHOWN_MISTAKES, int(wrong.sum()))]
    names = judged.names()
    return [_mistake(judged, target, int(row), names[row]) for row in order]


def _mistake(judged: HeldOutResults, target: Target, row: int, name: str) -> _Mistake:
    place, answer = int(judged.rows[row]), judged.answers[row]
    dataset = judged.dataset
    cells = []
    for modality in (Modality.TEXT, Modality.CAT, Modality.NUM):
        for column in dataset.schema.of(modality):
            value = dataset.features.table[column].iloc[place]
            text = "" if value != value else _number(value) if isinstance(value, float) else str(value)
            if text:
                cells.append((column, text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"))
    kept = [pictures.jpeg(place) for pictures in dataset.features.pictures.values()]
    jpeg = next((picture for picture in kept if picture is not None), None)
    picture = None if jpeg is None else "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
    if target.task.is_regression:
        label, predicted = _number(judged.targets[row]), _number(answer[0])
        return _Mistake(name, label, predicted, f"off by {_number(answer[0] - judged.targets[row])}", picture, cells)
    label, best = judged.targets[row], int(answer.argmax())
    told = f"{answer[best]:.1%} against {answer[label]:.1%}"
    return _Mistake(name, target.classes[label], target.classes[best], told, picture, cells)


def _number(value: float) -> str:
    """Four significant digits, and all before the point."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
