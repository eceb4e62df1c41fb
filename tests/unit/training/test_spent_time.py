"""What a branch took is counted once, whatever it has kept on its way."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from multimodal_algo.budget import Budget
from multimodal_algo.hyperparameters import HyperParameters
from multimodal_algo.ingest.features import Features
from multimodal_algo.keeping import StopRequest
from multimodal_algo.recipes import Branch, Recipe
from multimodal_algo.training.branches import Rows
from multimodal_algo.training.checkpoints import Checkpoints
from multimodal_algo.training.executor import LocalExecutor
from multimodal_algo.training.fitting import Fitting


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Slow:
    """A model that keeps a part on its way."""

    name = "text_tuned"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def fit(self, *arguments: Any, keeper: Any, **options: Any) -> np.ndarray:
        self.clock.now += 100
        keeper.keep("0", lambda directory: (directory / "part").touch())
        self.clock.now += 50
        return np.zeros((2, 3), np.float32)

    def save(self, directory: Path) -> None:
        (directory / "model").touch()

    def load(self, directory: Path) -> None:
        assert (directory / "model").is_file()


@pytest.mark.parametrize("before_s", [0.0, 30.0])
def test_a_branch_that_keeps_parts_took_no_longer_than_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before_s: float
) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    checkpoints = Checkpoints.open(tmp_path / "checkpoints", {}, HyperParameters())
    if before_s:
        checkpoints.keep("fitting/text_tuned/9", lambda directory: (directory / "part").touch(), seconds=before_s)
    seconds: dict[str, float] = {}
    recipe = Recipe(4, {Branch.TEXT_TUNED: {}})
    fitting = Fitting(HyperParameters(), recipe, checkpoints, tmp_path, seconds, StopRequest(), LocalExecutor())
    rows = Rows(Features(pd.DataFrame(), {}), np.zeros(2), np.zeros(2))
    model: Any = Slow(clock)
    list(fitting._in_turn([(0, Branch.TEXT_TUNED, model)], rows, Budget.starting_now(600)))
    assert checkpoints.spent_s("models/text_tuned") == seconds["text_tuned"] == 150 + before_s
