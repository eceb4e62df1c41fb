"""Sections of the report with scores: of the fusion, of each branch alone, and of the fusion without a modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from multimodal_algo.core.metrics import metrics_of
from multimodal_algo.report.metrics import Scores
from multimodal_algo.report.section import ReportedJob, Section

# A page is too narrow for all metrics of each branch. metrics.json has the others.
_SHOWN = 2
# The metric of the job and six others are read first.
_FIRST = 7


def scores(job: ReportedJob) -> Section:
    """Return the section with the metrics of the fusion and their intervals: the first ones, and others to unfold."""
    known = metrics_of(job.target.task)
    names = list(dict.fromkeys([job.metrics.eval_metric, *job.metrics.fused]))
    rows = [(name, job.metrics.fused[name], job.intervals.get(name), known[name].meaning) for name in names]
    return Section("How good it is", "scores", {"rows": rows[:_FIRST], "more": rows[_FIRST:]})


def branches(job: ReportedJob) -> Section:
    """Return the section with the scores of each branch alone, next to the scores of the fusion."""
    return Section("Each branch alone", "branches", _table(job, job.metrics.modalities), is_half=True)


def modalities(job: ReportedJob) -> Section | None:
    """Return the section with the scores without each modality. Return None if there is only one modality."""
    if not job.metrics.without:
        return None
    without = {job.own(name): scores for name, scores in job.metrics.without.items()}
    return Section("What each modality adds", "modalities", _table(job, without), is_half=True)


def _table(job: ReportedJob, scores: Mapping[str, Scores]) -> dict[str, Any]:
    names = _shown(job)
    rows = [(title, [values[name] for name in names]) for title, values in scores.items()]
    return {"names": names, "rows": rows, "fused": [job.metrics.fused[name] for name in names]}


def _shown(job: ReportedJob) -> Sequence[str]:
    """Return the names of the metrics that the tables show: the metric of the job comes first."""
    chosen = job.metrics.eval_metric
    names = sorted(job.metrics.fused, key=lambda name: name != chosen)
    return names[:_SHOWN]
