"""The section of the report that compares predicted probabilities with the share of right rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multimodal_algo.report.section import ReportedJob, Section

_MOST_BINS = 10
_ROWS_OF_A_BIN = 20


@dataclass(frozen=True)
class Bin:
    """A group of rows whose likeliest classes have similar probabilities.

    Parameters
    ----------
    rows
        Number of rows.
    probability
        Mean probability of the likeliest class.
    right
        Share of the rows whose likeliest class is the true class.
    low, high
        Bounds of the 95 % interval of `right`.
    """

    rows: int
    probability: float
    right: float
    low: float
    high: float

    @property
    def is_off(self) -> bool:
        """Whether the mean probability lies outside the interval of the share of right rows."""
        return not self.low <= self.probability <= self.high


def calibration(job: ReportedJob) -> Section | None:
    """Return the section with the calibration of the likeliest class. Return None if the job is a regression."""
    if job.target.task.is_regression:
        return None
    bins = bins_of(job.results.targets, job.results.predictions)
    return Section("Calibration", "calibration", {"bins": bins, "off": sum(each.is_off for each in bins)}, is_half=True)


def bins_of(targets: np.ndarray, probabilities: np.ndarray) -> list[Bin]:
    """Return bins with equal numbers of rows, from the least to the greatest probability.

    Parameters
    ----------
    targets
        True class indices, int (rows,).
    probabilities
        Probabilities of the classes, float (rows, n).
    """
    from scipy.stats import binomtest

    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    count = max(1, min(_MOST_BINS, len(targets) // _ROWS_OF_A_BIN))
    bins = []
    for rows in np.array_split(np.argsort(sure, kind="stable"), count):
        hits = int(right[rows].sum())
        # Wilson's interval holds for few rows and for shares near 0 and 1.
        low, high = binomtest(hits, len(rows)).proportion_ci(method="wilson")
        bins.append(Bin(len(rows), float(sure[rows].mean()), hits / len(rows), float(low), float(high)))
    return bins
