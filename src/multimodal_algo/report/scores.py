"""Sections with scores: of the fusion, of each branch alone, and without each modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from multimodal_algo.core.metrics import metrics_of
from multimodal_algo.report.metrics import Scores
from multimodal_algo.report.section import ReportedJob, Section

# A page is too narrow for all metrics of each branch. The others are in metrics.json.
_SHOWN = 2
# The metric of the job and six others are read first.
_FIRST = 7


def scores(job: ReportedJob) -> Section:
    """Return the metrics of the fusion with their intervals: the first ones, and the others to unfold."""
    known = metrics_of(job.target.task)
    names = list(dict.fromkeys([job.metrics.eval_metric, *job.metrics.fused]))
    rows = [(name, job.metrics.fused[name], job.intervals.get(name), known[name].meaning) for name in names]
    return Section("How good it is", "scores", {"rows": rows[:_FIRST], "more": rows[_FIRST:]})


def branches(job: ReportedJob) -> Section:
    """Return the scores of each branch alone, next to those of the fusion."""
    return Section("Each branch alone", "branches", _table(job, job.metrics.modalities), is_half=True)


def modalities(job: ReportedJob) -> Section | None:
    """Return the scores without each modality. None where there is one modality alone."""
    if not job.metrics.without:
        return None
    without = {job.own(name): scores for name, scores in job.metrics.without.items()}
    return Section("What each modality adds", "modalities", _table(job, without), is_half=True)


def _table(job: ReportedJob, scores: Mapping[str, Scores]) -> dict[str, Any]:
    names = _shown(job)
    rows = [(title, [values[name] for name in names]) for title, values in scores.items()]
    return {"names": names, "rows": rows, "fused": [job.metrics.fused[name] for name in names]}


def _shown(job: ReportedJob) -> Sequence[str]:
    """Return the metric of the job and the first ones of the others."""
    chosen = job.metrics.eval_metric
    names = sorted(job.metrics.fused, key=lambda name: name != chosen)
    return names[:_SHOWN]
