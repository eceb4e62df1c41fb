"""The section that lists doubtful labels."""

from __future__ import annotations

from multimodal_algo.report.section import ReportedJob, Section


def doubtful(job: ReportedJob) -> Section | None:
    """Return the labels that are probably wrong, the most doubtful first. None if nobody looked for them."""
    if job.label_issues is None:
        return None
    return Section("Doubtful labels", "doubtful", {"issues": job.label_issues})
