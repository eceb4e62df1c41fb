"""The file of an artifact with what sets and intervals need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from multimodal_algo.core.task import Task
from multimodal_algo.fusion.conformal.intervals import PredictionIntervals
from multimodal_algo.fusion.conformal.sets import PredictionSets

Calibrated = PredictionSets | PredictionIntervals
"""Sets of a classification, or intervals of a regression."""


def save_calibrated(calibrated: Calibrated, path: Path) -> None:
    """Write sets or intervals to an ``.npz`` file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = calibrated.arrays()
    np.savez_compressed(path, **arrays)


def load_calibrated(path: Path, task: Task) -> Calibrated:
    """Read what `save_calibrated` wrote for a task."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return PredictionIntervals.from_arrays(arrays) if task.is_regression else PredictionSets.from_arrays(arrays)
