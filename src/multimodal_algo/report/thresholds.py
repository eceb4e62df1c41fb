"""The section of the report about thresholds and abstention.

It shows curves of classes, figures for several thresholds, and how many rows can be answered with a promised accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multimodal_algo.core.class_scores import average_precision
from multimodal_algo.core.decision import DecisionRule
from multimodal_algo.core.promises import share_of_right
from multimodal_algo.core.proportions import interval
from multimodal_algo.core.threshold_curve import ThresholdCurve
from multimodal_algo.fusion.decisions import ChosenRule
from multimodal_algo.report.section import ReportedJob, Section

_MOST_CLASSES = 6
_PLOTTED = 200
_THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
_TARGETS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)

Point = tuple[float, float]


@dataclass(frozen=True)
class Share:
    """A share of rows, from 0 to 1, with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, right: int, rows: int) -> Share:
        """Return the share of `right` rows among `rows` rows. `rows` is above 0."""
        low, high = interval(np.array([right]), np.array([rows]))
        return cls(right / rows, float(low[0]), float(high[0]))


@dataclass(frozen=True)
class ThresholdRow:
    """A threshold of a class with its figures on held-out rows. `precision` is None if no row reaches the threshold."""

    threshold: float
    is_chosen: bool
    reached: int
    flagged: Share
    precision: Share | None
    recall: Share


@dataclass(frozen=True)
class ClassCurves:
    """The curves of one class against the rest.

    Parameters
    ----------
    name
        Name of the class.
    precision_recall
        Points of the precision-recall curve: recall and precision.
    roc
        Points of the ROC curve: the share of rows of other classes that reach a threshold, and recall.
    average_precision, area
        Areas under the precision-recall curve and under the ROC curve.
    table
        Figures of several thresholds. Empty if only the curves are shown.
    """

    name: str
    precision_recall: list[Point]
    roc: list[Point]
    average_precision: float
    area: float
    table: list[ThresholdRow]


@dataclass(frozen=True)
class TargetRow:
    """A target accuracy, with the share of rows that can be answered if this accuracy is promised.

    `coverage` is the share of answered rows, and `accuracy` is the share of right answers among these. Both are None if
    the accuracy cannot be promised.
    """

    target: float
    is_chosen: bool
    threshold: float
    coverage: Share | None
    accuracy: Share | None


def thresholds(job: ReportedJob) -> Section | None:
    """Return the section about thresholds and abstention. Return None if the job has no decision rule."""
    if (chosen := job.decision) is None:
        return None
    rows = chosen.rows
    answers = rows.answered_curve(DecisionRule({label: each.threshold for label, each in chosen.thresholds.items()}))
    values = {
        "classes": [_curves(label, chosen) for label in _shown_classes(chosen)],
        "sentences": list(chosen.sentences()),
        "targets": [_target(target, answers, chosen) for target in _targets(chosen)],
        "coverage": _coverage_points(answers),
    }
    return Section("Thresholds", "thresholds", values)


def _shown_classes(chosen: ChosenRule) -> list[int]:
    """Return the indices of the classes whose curves are shown.

    With two classes, they are the positive class and the classes with a threshold. With more, they are the classes with
    a threshold. If no class has a threshold, all classes are shown, provided that they are few.
    """
    rows = chosen.rows
    if len(rows.classes) == 2:
        labels = sorted({rows.positive, *chosen.thresholds}, key=lambda label: label != rows.positive)
    else:
        labels = list(chosen.thresholds) or list(range(len(rows.classes)))
        labels = labels if len(labels) <= _MOST_CLASSES or chosen.thresholds else []
    present = set(np.unique(rows.targets).tolist())
    return [label for label in labels if label in present and len(present) > 1][:_MOST_CLASSES]


def _curves(label: int, chosen: ChosenRule) -> ClassCurves:
    rows = chosen.rows
    curve = rows.curve_of(label)
    precision, recall = curve.right / curve.reached, curve.right / curve.positives
    false = (curve.reached - curve.right) / (curve.rows - curve.positives)
    shown = _plotted(curve)
    has_table = label in chosen.thresholds or (len(rows.classes) == 2 and label == rows.positive)
    return ClassCurves(
        rows.classes[label],
        list(zip(recall[shown].tolist(), precision[shown].tolist(), strict=True)),
        [(0.0, 0.0), *zip(false[shown].tolist(), recall[shown].tolist(), strict=True)],
        average_precision(rows.targets == label, rows.probabilities[:, label]),
        float(np.trapezoid(np.append(0.0, recall), np.append(0.0, false))),
        _table(label, chosen) if has_table else [],
    )


def _table(label: int, chosen: ChosenRule) -> list[ThresholdRow]:
    own = chosen.thresholds.get(label)
    curve = chosen.rows.curve_of(label, tuple(chosen.thresholds) or (label,), chosen.settings.abstain_below)
    wanted = sorted({*_THRESHOLDS, *([own.threshold] if own else [])}, reverse=True)
    table: list[ThresholdRow] = []
    for threshold in wanted:
        reached, right = curve.at(threshold)
        is_chosen = own is not None and threshold == own.threshold
        if not is_chosen and any(row.reached == reached for row in table):
            continue
        precision = Share.of(right, reached) if reached else None
        flagged, recall = Share.of(reached, curve.rows), Share.of(right, curve.positives)
        table.append(ThresholdRow(threshold, is_chosen, reached, flagged, precision, recall))
    return table


def _targets(chosen: ChosenRule) -> list[float]:
    own = chosen.settings.target_accuracy
    return sorted({*_TARGETS, *([own] if own else [])})


def _target(target: float, curve: ThresholdCurve, chosen: ChosenRule) -> TargetRow:
    price = share_of_right(curve, target)
    is_chosen = target == chosen.settings.target_accuracy
    if not price.is_promised:
        return TargetRow(target, is_chosen, price.threshold, None, None)
    coverage, accuracy = Share.of(price.reached, price.rows), Share.of(price.right, price.reached)
    return TargetRow(target, is_chosen, price.threshold, coverage, accuracy)


def _coverage_points(curve: ThresholdCurve) -> list[Point]:
    """Return points of a curve: the share of rows that are answered, and the share of right answers among these."""
    shown = _plotted(curve)
    covered, right = curve.reached[shown] / curve.rows, curve.right[shown] / curve.reached[shown]
    return list(zip(covered.tolist(), right.tolist(), strict=True))


def _plotted(curve: ThresholdCurve) -> np.ndarray:
    """Return the indices of the candidates that a plot shows, evenly spaced, int (n,)."""
    return np.unique(np.linspace(0, len(curve) - 1, min(_PLOTTED, len(curve))).round().astype(int))
