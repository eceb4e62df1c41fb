"""The section of the report that lists doubtful labels."""

from __future__ import annotations

from multimodal_algo.report.section import ReportedJob, Section


def doubtful(job: ReportedJob) -> Section | None:
    """Return the section with doubtful labels, the most doubtful first. Return None if they were not looked for."""
    if job.label_issues is None:
        return None
    return Section("Doubtful labels", "doubtful", {"issues": job.label_issues})
