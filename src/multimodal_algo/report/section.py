"""A section of the report, and the results of a job from which sections are made.

A new section is a function in a module of this folder, a template in ``templates``, and one entry in `page.SECTIONS`::

    def residuals(job: ReportedJob) -> Section | None:
        if not job.target.task.is_regression:
            return None  # this job has no such section
        return Section("Residuals", "residuals", {"points": ...})  # rendered by templates/residuals.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.labels import Target
from multimodal_algo.fusion.decisions import ChosenRule
from multimodal_algo.report.importance import Importance
from multimodal_algo.report.intervals import intervals
from multimodal_algo.report.labels import LabelIssues
from multimodal_algo.report.metrics import HeldOutResults, Metrics


@dataclass(frozen=True)
class ReportedJob:
    """The results of a job, from which the sections of its report are made.

    Parameters
    ----------
    results
        Held-out rows with their predictions.
    target
        The labels of the job.
    metrics
        Scores of the predictions.
    hyperparameters
        Hyperparameters of the job.
    training_rows
        Number of training rows.
    warnings
        Warnings about the training rows.
    importance
        Importance of each column, the most important first. Empty if it was not measured.
    decision
        The rule that decides answers. None for a regression, or if the held-out rows of the rule are not known.
    label_issues
        Labels that are probably wrong. None if the job did not look for them.
    """

    results: HeldOutResults
    target: Target
    metrics: Metrics
    hyperparameters: HyperParameters
    training_rows: int
    warnings: Sequence[str] = ()
    importance: Sequence[Importance] = ()
    decision: ChosenRule | None = None
    label_issues: LabelIssues | None = None

    def own(self, column: str) -> str:
        """Return the user's own name for a `column` whose name has a suffix."""
        return self.hyperparameters.column_names.own(column)

    @cached_property
    def intervals(self) -> Mapping[str, tuple[float, float]]:
        """The 95 % interval of each metric, see `intervals.intervals`."""
        return intervals(self.results.targets, self.results.predictions, self.target.task)


@dataclass(frozen=True)
class Section:
    """A section of the report.

    Parameters
    ----------
    title
        Heading, which also stands in the list of contents.
    id
        Anchor of the section, and the name of its template without ``.html``.
    values
        Values for the template, by name.
    is_half
        Whether the section takes half of the width of a wide screen.
    """

    title: str
    id: str
    values: Mapping[str, Any] = field(default_factory=dict)
    is_half: bool = False

    @property
    def template(self) -> str:
        """Name of the file of the section's template, in the folder ``templates``."""
        return f"{self.id}.html"


SectionMaker = Callable[[ReportedJob], Section | None]
"""A function that makes one section. It returns None if the job has nothing to show there."""
