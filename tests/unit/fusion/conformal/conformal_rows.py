"""Calibration rows for the tests of sets and intervals."""

from __future__ import annotations

import numpy as np

from multimodal_algo.fusion.conformal.rows import CalibrationRows
from multimodal_algo.fusion.votes import Votes


def calibration_rows(predictions: np.ndarray, targets: np.ndarray, votes: Votes | None = None) -> CalibrationRows:
    """Independent rows in four folds. Without `votes`, one branch votes for the predictions."""
    rows = np.arange(len(targets))
    if votes is None:
        votes = Votes(np.concatenate([predictions, np.zeros((len(rows), 1))], axis=1)[:, None])
    return CalibrationRows(predictions, votes, targets, np.ones(len(rows)), rows, rows % 4)
