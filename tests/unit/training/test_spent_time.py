"""What a branch took is counted once, whatever it has kept on its way."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.recipes import Branch, Recipe
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.checkpointing import StopRequest
from multimodal_algo.execution.local import LocalExecutor
from multimodal_algo.execution.protocol import Executor, WorkItem, WorkResult
from multimodal_algo.ingest.features import Features
from multimodal_algo.training.checkpoints import Checkpoints
from multimodal_algo.training.fitting import Fitting
from multimodal_algo.training.scheduling import Rows


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Slow:
    """A model that keeps a part on its way."""

    name = "text_tuned"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def fit(self, *arguments: Any, checkpoints: Any, **options: Any) -> np.ndarray:
        self.clock.now += 100
        checkpoints.keep("0", lambda directory: (directory / "part").touch())
        self.clock.now += 50
        return np.zeros((2, 3), np.float32)

    def save(self, directory: Path) -> None:
        (directory / "model").touch()

    def load(self, directory: Path) -> None:
        assert (directory / "model").is_file()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints.open(tmp_path / "checkpoints", {}, HyperParameters())


def fitting(checkpoints: Checkpoints, seconds: dict[str, float], scratch: Path, executor: Executor) -> Fitting:
    recipe = Recipe(4, {Branch.TEXT_FINE_TUNED: {}, Branch.NUM: {}, Branch.CAT: {}})
    return Fitting(HyperParameters(), recipe, checkpoints, scratch, seconds, StopRequest(), executor)


ROWS = Rows(Features(pd.DataFrame(), {}), np.zeros(2), np.zeros(2))
LIMIT_S = HyperParameters().budget_s


@pytest.mark.parametrize("before_s", [0.0, 30.0])
def test_a_branch_that_keeps_parts_took_no_longer_than_it_did(
    tmp_path: Path, clock: Clock, checkpoints: Checkpoints, before_s: float
) -> None:
    if before_s:
        checkpoints.keep(
            "fitting/text_tuned/9", lambda directory: (directory / "part").touch(), seconds=before_s, used_s=before_s
        )
    seconds: dict[str, float] = {}
    job = fitting(checkpoints, seconds, tmp_path, LocalExecutor())
    model: Any = Slow(clock)
    list(job._in_turn([(0, Branch.TEXT_FINE_TUNED, model)], ROWS, Budget.starting_now(LIMIT_S - before_s, clock)))
    assert checkpoints.spent_s("models/text_tuned") == seconds["text_tuned"] == 150 + before_s
    assert checkpoints.used_s(["models/text_tuned"]) == 150 + before_s


def test_a_state_that_a_fit_goes_on_from_is_counted_when_it_is_done(
    tmp_path: Path, clock: Clock, checkpoints: Checkpoints
) -> None:
    checkpoints.keep("fitting/text_tuned/0.running/1", lambda directory: (directory / "state").touch(), seconds=70)
    model: Any = Slow(clock)
    job = fitting(checkpoints, {}, tmp_path, LocalExecutor())
    assert checkpoints.used_s(job._parts(model)) == 0
    list(job._in_turn([(0, Branch.TEXT_FINE_TUNED, model)], ROWS, Budget.starting_now(LIMIT_S, clock)))
    assert checkpoints.used_s(job._parts(model)) == 70 + 150


class AtOnce(LocalExecutor):
    """Does all tasks at the same time, by the clock."""

    is_alone = False
    width = 2

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def run(self, tasks: Iterable[WorkItem], scratch: Path) -> Iterator[WorkResult]:
        began = self.clock.now
        all_done = []
        for task in list(tasks):
            self.clock.now = began
            (done,) = super().run([task], scratch / task.name)
            all_done.append((self.clock.now, done))
        for number, (now, done) in enumerate(all_done):
            self.clock.now = now
            yield WorkResult(number, done.value, done.directory)


def test_branches_that_are_fitted_at_once_use_the_budget_once(
    tmp_path: Path, clock: Clock, checkpoints: Checkpoints
) -> None:
    class Quick(Slow):
        def __init__(self, name: str) -> None:
            super().__init__(clock)
            self.name = name

        def fit(self, *arguments: Any, **options: Any) -> np.ndarray:
            self.clock.now += 150
            return np.zeros((2, 3), np.float32)

    seconds: dict[str, float] = {}
    models: list[Any] = [Quick("num"), Quick("cat")]
    fits = list(zip((0, 1), (Branch.NUM, Branch.CAT), models, strict=True))
    job = fitting(checkpoints, seconds, tmp_path, AtOnce(clock))
    list(job._spread(fits, ROWS, Budget.starting_now(LIMIT_S - 40, clock)))
    assert seconds == {"num": 150, "cat": 150}
    assert checkpoints.used_s(part for model in models for part in job._parts(model)) == 40 + 150
