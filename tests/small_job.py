"""Hyperparameters of a job that is small and real."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

PARAMETERS = {"quality": "toy", "n_mins": "1", "n_epochs": "20"}
# With so much time, no fit of the small job is cut short by the clock: the same seed gives the same model.
UNHURRIED = {**PARAMETERS, "n_mins": "30"}
WEIGHTS_DIR = Path(os.environ.get("WEIGHTS_DIR", "/opt/weights"))

Rows = Sequence[Sequence[str]]
WriteCsv = Callable[[str, Rows], Path]
