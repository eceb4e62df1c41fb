"""The file in an artifact that stores prediction sets or prediction intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from multimodal_algo.core.task import Task
from multimodal_algo.fusion.conformal.intervals import PredictionIntervals
from multimodal_algo.fusion.conformal.sets import PredictionSets

Calibrated = PredictionSets | PredictionIntervals
"""Prediction sets of a classification, or prediction intervals of a regression."""


def save_calibrated(calibrated: Calibrated, path: Path) -> None:
    """Write prediction sets or intervals to an ``.npz`` file. Its directory is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = calibrated.arrays()
    np.savez_compressed(path, **arrays)


def load_calibrated(path: Path, task: Task) -> Calibrated:
    """Read the file that `save_calibrated` wrote: intervals if `task` is a regression, otherwise sets."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return PredictionIntervals.from_arrays(arrays) if task.is_regression else PredictionSets.from_arrays(arrays)
