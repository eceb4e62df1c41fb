"""The section of the report that plots predicted numbers against true numbers."""

from __future__ import annotations

import numpy as np

from multimodal_algo.report.section import ReportedJob, Section

_PLOTTED = 1500


def predicted(job: ReportedJob) -> Section | None:
    """Return the section with the points of at most 1,500 random rows. Return None if the job predicts classes."""
    if not job.target.task.is_regression:
        return None
    rows = np.arange(len(job.results.targets))
    if len(rows) > _PLOTTED:
        rows = np.random.default_rng(0).choice(rows, _PLOTTED, replace=False)
    truth, predictions = job.results.targets[rows], job.results.predictions[rows, 0]
    low, high = float(min(truth.min(), predictions.min())), float(max(truth.max(), predictions.max()))
    span = high - low or 1.0
    points = [((a - low) / span, (b - low) / span) for a, b in zip(truth.tolist(), predictions.tolist(), strict=True)]
    return Section("Predicted against true", "predicted", {"points": points, "low": low, "high": high}, is_half=True)
