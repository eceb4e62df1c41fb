"""Sections of the report about classes: scores of each class, confusion matrix, and most frequent mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multimodal_algo.report.section import ReportedJob, Section

_MOST_IN_MATRIX = 25
_MOST_LISTED = 60
_WEAKEST = 15
# A class with fewer rows is not listed as weak, because its scores are chance.
_ROWS_OF_A_WEAK_CLASS = 5
_MISTAKES = 15
# Longer names above the columns of the matrix would make it higher than a screen.
_NAME_ABOVE = 24


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class against the rest.

    Parameters
    ----------
    name
        Name of the class.
    rows
        Number of held-out rows of the class.
    precision, recall, f1
        Scores between 0 and 1.
    """

    name: str
    rows: int
    precision: float
    recall: float
    f1: float


def classes(job: ReportedJob) -> Section | None:
    """Return the section with the scores of the most frequent classes. Return None if the job is a regression.

    If there are too many classes to show all, the section also has the classes with the least F1 scores.
    """
    if job.target.task.is_regression:
        return None
    scored = _scored(job)
    shown, missing = scored[:_MOST_LISTED], len(scored[_MOST_LISTED:])
    weak = [each for each in scored if each.rows >= _ROWS_OF_A_WEAK_CLASS] if missing else []
    weak.sort(key=lambda each: each.f1)
    values = {"shown": shown, "missing": missing, "weakest": weak[:_WEAKEST], "most": shown[0].rows if shown else 1}
    return Section("Classes", "classes", values)


def confusion(job: ReportedJob) -> Section | None:
    """Return the section with the confusion matrix. Return None for a regression, or with more than 25 classes."""
    if job.target.task.is_regression:
        return None
    counts = np.bincount(job.results.targets, minlength=len(job.target.classes))
    labels = [int(label) for label in np.argsort(-counts, kind="stable") if counts[label]]
    if len(labels) > _MOST_IN_MATRIX:
        return None
    cells = _cells(job)
    names = [job.target.classes[label] for label in labels]
    rows = [
        (job.target.classes[a], [(cells.get((a, b), 0), cells.get((a, b), 0) / int(counts[a]), a == b) for b in labels])
        for a in labels
    ]
    fits = max(map(len, names), default=0) <= _NAME_ABOVE
    return Section("Confusion matrix", "confusion", {"names": names, "rows": rows, "has_names_above": fits})


def frequent_mistakes(job: ReportedJob) -> Section | None:
    """Return the section with the pairs of classes that are confused most often. Return None without such pairs."""
    if job.target.task.is_regression:
        return None
    counts = np.bincount(job.results.targets, minlength=len(job.target.classes))
    wrong = ((n, a, b) for (a, b), n in _cells(job).items() if a != b)
    ordered = sorted(wrong, key=lambda pair: (-pair[0], pair[1:]))[:_MISTAKES]
    names = job.target.classes
    pairs = [(names[a], names[b], n, n / int(counts[a])) for n, a, b in ordered]
    return Section("Most frequent mistakes", "frequent_mistakes", {"pairs": pairs}, is_half=True) if pairs else None


def _scored(job: ReportedJob) -> Sequence[ClassScores]:
    """Return the scores of all classes that have held-out rows. The most frequent class is first."""
    predicted = job.results.predictions.argmax(axis=1)
    n_classes = len(job.target.classes)
    counts = np.bincount(job.results.targets, minlength=n_classes)
    predictions = np.bincount(predicted, minlength=n_classes)
    right = np.bincount(predicted[predicted == job.results.targets], minlength=n_classes)
    scored = []
    for label in np.argsort(-counts, kind="stable"):
        if counts[label]:
            hits = int(right[label])
            precision = hits / int(predictions[label]) if predictions[label] else 0.0
            f1 = 2 * hits / int(counts[label] + predictions[label])
            recall = hits / int(counts[label])
            scored.append(ClassScores(job.target.classes[label], int(counts[label]), precision, recall, f1))
    return scored


def _cells(job: ReportedJob) -> dict[tuple[int, int], int]:
    """Return the number of rows for each pair of a true and a predicted class index. Pairs without rows are absent."""
    pairs = np.stack([job.results.targets, job.results.predictions.argmax(axis=1)])
    unique, times = np.unique(pairs, axis=1, return_counts=True)
    return {(int(a), int(b)): int(n) for (a, b), n in zip(unique.T, times, strict=True)}
