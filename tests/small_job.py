"""A job that is small and real."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

# Small, so that the suite is quick where no weights are to be had and it stays untrained (quality toy allows that).
BACKBONE = "squeezenet1_0"
PARAMETERS = {"quality": "toy", "n_mins": "1", "n_epochs": "20", "image_backbone": BACKBONE}
WEIGHTS_DIR = Path(os.environ.get("WEIGHTS_DIR", "/opt/weights"))

Rows = Sequence[Sequence[str]]
WriteCsv = Callable[[str, Rows], Path]
