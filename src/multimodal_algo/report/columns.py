"""The section of the report with the importance of columns."""

from __future__ import annotations

from multimodal_algo.report.section import ReportedJob, Section

_SHOWN = 40


def columns(job: ReportedJob) -> Section | None:
    """Return the section with the most important columns. Return None if importance was not measured."""
    if not job.importance:
        return None
    values = {
        "shown": job.importance[:_SHOWN],
        "missing": len(job.importance[_SHOWN:]),
        "most": max(job.importance[0].loss, 1e-12),
        "metric": job.metrics.eval_metric,
        "are_seen": job.results.measured_on.startswith("training"),
    }
    return Section("Importance of columns", "columns", values)
