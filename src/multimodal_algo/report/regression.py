"""Sections of the report about errors of a regression: a plot over the predictions, and a table by range of labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multimodal_algo.report.section import ReportedJob, Section

_PLOTTED, _RANGES = 1500, 5
# The plot shows the errors up to this quantile. Larger errors are drawn at its edge.
_SHOWN_SHARE = 0.99


@dataclass(frozen=True)
class RangeErrors:
    """Errors of the rows whose label lies in a range.

    Parameters
    ----------
    low, high
        Least and greatest label of the range.
    rows
        Number of rows.
    r2
        Share of the variance within the range that the predictions explain. None if all labels are equal.
    median_error
        Median absolute error.
    mean_error
        Mean of prediction minus label. If it is above 0, predictions are too large on average.
    """

    low: float
    high: float
    rows: int
    r2: float | None
    median_error: float
    mean_error: float


def residuals(job: ReportedJob) -> Section | None:
    """Return the section that plots errors over predicted numbers. Return None if the job predicts classes.

    The plot has at most 1,500 random rows. The value ``points`` of the section has two numbers for each: the predicted
    number, where 0 stands for ``low`` and 1 for ``high``, and the error in units of ``largest``, from -1 to 1.
    """
    if not job.target.task.is_regression:
        return None
    rows = np.arange(len(job.results.targets))
    if len(rows) > _PLOTTED:
        rows = np.random.default_rng(0).choice(rows, _PLOTTED, replace=False)
    predictions = job.results.predictions[rows, 0]
    errors = predictions - job.results.targets[rows]
    low, high = float(predictions.min()), float(predictions.max())
    largest = float(np.quantile(np.abs(errors), _SHOWN_SHARE)) or 1.0
    across, up = (predictions - low) / (high - low or 1.0), np.clip(errors / largest, -1, 1)
    points = list(zip(across.tolist(), up.tolist(), strict=True))
    values = {"points": points, "largest": largest, "low": low, "high": high}
    return Section("Errors against predicted", "residuals", values, is_half=True)


def ranges(job: ReportedJob) -> Section | None:
    """Return the section with the result of `range_errors`. Return None if the job predicts classes."""
    if not job.target.task.is_regression:
        return None
    errors = range_errors(job.results.targets, job.results.predictions[:, 0])
    return Section("Errors by range of the label", "ranges", {"ranges": errors})


def range_errors(truth: np.ndarray, predictions: np.ndarray) -> list[RangeErrors]:
    """Return the errors for each fifth of the rows, from the rows with the smallest labels to those with the largest.

    Rows with equal labels are in the same range, so there may be fewer than five ranges.

    Parameters
    ----------
    truth, predictions
        Labels and predictions, float (rows,).
    """
    ends = np.unique(np.quantile(truth, np.arange(1, _RANGES + 1) / _RANGES, method="inverted_cdf"))
    place = np.searchsorted(ends, truth)
    return [_errors_of(truth[place == number], predictions[place == number]) for number in range(len(ends))]


def _errors_of(truth: np.ndarray, predictions: np.ndarray) -> RangeErrors:
    errors = predictions - truth
    variance = float(truth.var())
    return RangeErrors(
        low=float(truth.min()),
        high=float(truth.max()),
        rows=len(truth),
        r2=1 - float(np.mean(errors**2)) / variance if variance > 0 else None,
        median_error=float(np.median(np.abs(errors))),
        mean_error=float(errors.mean()),
    )
