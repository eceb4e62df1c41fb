"""Finds labels that are probably wrong, and rows with equal content but different labels. Writes them to a file."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multimodal_algo.core.confident_learning import LabelDoubts, doubt_classes, doubt_numbers
from multimodal_algo.core.labels import Target
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.report.conflicts import Conflict, find_conflicts

_LOG = logging.getLogger(__name__)

LABEL_ISSUES = "label_issues.csv"
_HEADER = ("ID", "row", "label", "probable_label", "probability", "probability_of_label", "score", "doubt", "reason")
_SHOWN = 20
# Of the labels that may be wrong, the most doubtful are listed, up to this share of all rows.
_LISTED_SHARE = 0.12


@dataclass(frozen=True)
class LabelIssue:
    """A row whose label is doubtful.

    Parameters
    ----------
    name
        ID of the row. If rows have no ID, the number of the row.
    row
        Number of the row in the order of reading, from 1.
    label, probable
        The label in the data, and the probable label. For a regression, both are numbers as texts.
    probability, label_probability
        Held-out probability of the probable label, and of the label in the data. None for a regression.
    score
        How well the label suits the row, see `LabelDoubts.scores`.
    doubt
        ``strong`` for a label that is probably wrong, ``possible`` for a label that may be wrong. ``duplicate`` for a
        label that is doubtful only because a row with the same content has another label.
    reason
        The reason in words.
    """

    name: str
    row: int
    label: str
    probable: str
    probability: float | None
    label_probability: float | None
    score: float
    doubt: str
    reason: str


@dataclass(frozen=True)
class LabelIssues:
    """The doubtful labels of a job.

    Parameters
    ----------
    issues
        The doubtful labels, the most doubtful first. Rows that are doubtful only as duplicates come last.
    doubtful
        Number of rows whose label the held-out predictions contradict strongly.
    conflicting
        Number of rows whose content a row with another label has too.
    rows
        Number of training rows.
    """

    issues: Sequence[LabelIssue]
    doubtful: int
    conflicting: int
    rows: int

    @property
    def sentence(self) -> str:
        """The counts of doubtful labels in words, for the log and the report."""
        return (
            f"{self.doubtful:,} of {self.rows:,} rows have a label that held-out predictions strongly contradict, "
            f"{self.conflicting:,} rows share their content with a row of another label"
        )

    @property
    def shown(self) -> Sequence[LabelIssue]:
        """The most doubtful labels, which the report shows."""
        return self.issues[:_SHOWN]

    def log(self) -> None:
        """Log the number of doubtful labels and the name of the file that lists them."""
        _LOG.info("labels: %s%s", self.sentence, f", see {LABEL_ISSUES}" if self.issues else "")

    def write(self, directory: Path) -> None:
        """Write ``label_issues.csv`` into the platform's output directory."""
        with (directory / LABEL_ISSUES).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(_HEADER)
            writer.writerows(map(_line, self.issues))


def find_label_issues(dataset: Dataset, target: Target, predictions: np.ndarray) -> LabelIssues:
    """Find the labels that are probably wrong, and rows with equal content but different labels.

    Parameters
    ----------
    dataset
        The training rows.
    target
        The labels of the rows.
    predictions
        Held-out predictions: each comes from models that were not fitted to its row, float (rows, n).
    """
    doubts = (
        doubt_numbers(predictions[:, 0], target.values)
        if target.task.is_regression
        else doubt_classes(predictions, target.values)
    )
    order = np.argsort(doubts.scores, kind="stable")
    conflicts = find_conflicts(dataset, target, order)
    writer = _Writer(target, predictions, doubts, conflicts, dataset.names())
    doubtful = int(doubts.doubtful.sum())
    listed = doubts.doubtful.copy()
    listed[order[doubts.possible[order]][: int(_LISTED_SHARE * len(dataset))]] = True
    added = [row for row in order.tolist() if not listed[row] and row in conflicts]
    issues = [writer.issue(row) for row in (*order[listed[order]].tolist(), *added)]
    return LabelIssues(issues, doubtful, len(conflicts), len(dataset))


@dataclass(frozen=True)
class _Writer:
    """Describes the doubtful labels of a job in words."""

    target: Target
    predictions: np.ndarray
    doubts: LabelDoubts
    conflicts: Mapping[int, Conflict]
    names: Sequence[str]

    def issue(self, row: int) -> LabelIssue:
        """Return the description of the doubtful label of the row with the index `row`."""
        label, probable = self.target.values[row], self.doubts.probable[row]
        is_possible = bool(self.doubts.possible[row])
        doubt = "strong" if self.doubts.doubtful[row] else "possible" if is_possible else "duplicate"
        reasons = [self._contradiction(row)] if is_possible else []
        if conflict := self.conflicts.get(row):
            reasons.append(self._conflict(conflict))
            if not is_possible:
                probable = self.target.values[conflict.other]
        probabilities: tuple[float | None, float | None] = (None, None)
        if not self.target.task.is_regression:
            probabilities = float(self.predictions[row, probable]), float(self.predictions[row, label])
        return LabelIssue(
            self.names[row], row + 1, self._name(label), self._name(probable), *probabilities,
            float(self.doubts.scores[row]), doubt, "; ".join(reasons),
        )  # fmt: skip

    def _contradiction(self, row: int) -> str:
        label, probable = self.target.values[row], self.doubts.probable[row]
        if self.target.task.is_regression:
            return (
                f"models that did not see the row predict {self._name(probable)}, an error of "
                f"{-self.doubts.scores[row]:.1f} standard deviations of like rows"
            )
        return (
            f"models that did not see the row give '{self._name(probable)}' {self.predictions[row, probable]:.1%} and "
            f"'{self._name(label)}' {self.predictions[row, label]:.1%}"
        )

    def _conflict(self, conflict: Conflict) -> str:
        sameness = "nearly the same" if conflict.is_near else "the same"
        what = f"{sameness} {conflict.column or 'content'}"
        other = self._name(self.target.values[conflict.other])
        return f"{what} as row {conflict.other + 1} (ID {self.names[conflict.other]}), whose label is '{other}'"

    def _name(self, label: float) -> str:
        return f"{label:.6g}" if self.target.task.is_regression else self.target.classes[int(label)]


def _line(issue: LabelIssue) -> Sequence[object]:
    shares = ("" if share is None else f"{share:.6f}" for share in (issue.probability, issue.label_probability))
    names = (issue.name, issue.row, issue.label, issue.probable)
    return (*names, *shares, f"{issue.score:.6f}", issue.doubt, issue.reason)
