"""The time of a branch is counted once, with the parts that it saves on its way."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from multimodal_algo.branches.base import TrainingRows
from multimodal_algo.branches.registry import SPECS
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.inference import Engine
from multimodal_algo.config.recipes import Branch, Recipe
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.checkpointing import StopRequest
from multimodal_algo.core.task import Task
from multimodal_algo.execution.local import HERE, LocalExecutor
from multimodal_algo.execution.protocol import Executor, Resources, WorkItem, WorkResult
from multimodal_algo.ingest.features import Features
from multimodal_algo.predictors.base import FitSettings
from multimodal_algo.training.checkpoints import Checkpoints
from multimodal_algo.training.fitting import BranchFit, Fitting


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Slow:
    """A model that saves a part on its way."""

    name = "text_tuned"
    task = Task.of_classes(2)

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def fit(self, rows: TrainingRows, settings: FitSettings, *, min_completeness: float) -> np.ndarray:
        assert settings.checkpoints is not None
        self.clock.now += 100
        settings.checkpoints.save("0", lambda directory: (directory / "part").touch())
        self.clock.now += 50
        return np.zeros((2, 3), np.float32)

    def save(self, directory: Path) -> None:
        (directory / "model").touch()

    def load(self, directory: Path, engine: Engine) -> None:
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


def one(model: Any) -> list[BranchFit]:
    return [BranchFit(0, SPECS[Branch.TEXT_FINE_TUNED], model)]


ROWS = TrainingRows(Features.of_table(pd.DataFrame(), {}), np.zeros(2), np.zeros(2))
LIMIT_S = HyperParameters().budget_s


@pytest.mark.parametrize("before_s", [0.0, 30.0])
def test_a_branch_that_keeps_parts_took_no_longer_than_it_did(
    tmp_path: Path, clock: Clock, checkpoints: Checkpoints, before_s: float
) -> None:
    if before_s:
        checkpoints.save(
            "fitting/text_tuned/9", lambda directory: (directory / "part").touch(), seconds=before_s, used_s=before_s
        )
    seconds: dict[str, float] = {}
    job = fitting(checkpoints, seconds, tmp_path, LocalExecutor())
    model: Any = Slow(clock)
    job.fit_branches(one(model), ROWS, Budget.starting_now(LIMIT_S - before_s, clock))
    assert checkpoints.spent_s("models/text_tuned") == seconds["text_tuned"] == 150 + before_s
    assert checkpoints.used_s(["models/text_tuned"]) == 150 + before_s


def test_a_state_that_a_fit_goes_on_from_is_counted_when_it_is_done(
    tmp_path: Path, clock: Clock, checkpoints: Checkpoints
) -> None:
    checkpoints.save("fitting/text_tuned/0.running/1", lambda directory: (directory / "state").touch(), seconds=70)
    model: Any = Slow(clock)
    job = fitting(checkpoints, {}, tmp_path, LocalExecutor())
    assert checkpoints.used_s(job.parts_of(model)) == 0
    job.fit_branches(one(model), ROWS, Budget.starting_now(LIMIT_S, clock))
    assert checkpoints.used_s(job.parts_of(model)) == 70 + 150


class AtOnce(LocalExecutor):
    """Does all tasks at the same time, by the clock."""

    resources = Resources((HERE,), width=2)

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

        def fit(self, rows: TrainingRows, settings: FitSettings, *, min_completeness: float) -> np.ndarray:
            self.clock.now += 150
            return np.zeros((2, 3), np.float32)

    seconds: dict[str, float] = {}
    models: list[Any] = [Quick("num"), Quick("cat")]
    fits = [BranchFit(0, SPECS[Branch.NUM], models[0]), BranchFit(1, SPECS[Branch.CAT], models[1])]
    job = fitting(checkpoints, seconds, tmp_path, AtOnce(clock))
    job.fit_branches(fits, ROWS, Budget.starting_now(LIMIT_S - 40, clock))
    assert seconds == {"num": 150, "cat": 150}
    assert checkpoints.used_s(part for model in models for part in job.parts_of(model)) == 40 + 150


def test_on_one_host_a_branch_may_use_the_time_that_the_branches_before_it_left(
    tmp_path: Path, clock: Clock, checkpoints: Checkpoints
) -> None:
    limits: list[float] = []

    class Quick(Slow):
        def __init__(self, name: str) -> None:
            super().__init__(clock)
            self.name = name

        def fit(self, rows: TrainingRows, settings: FitSettings, *, min_completeness: float) -> np.ndarray:
            limits.append(settings.budget.remaining_s)
            self.clock.now += 10
            return np.zeros((2, 3), np.float32)

    models: list[Any] = [Quick("num"), Quick("cat")]
    fits = [BranchFit(0, SPECS[Branch.NUM], models[0]), BranchFit(1, SPECS[Branch.CAT], models[1])]
    fitting(checkpoints, {}, tmp_path, LocalExecutor()).fit_branches(fits, ROWS, Budget.starting_now(220, clock))
    # The fusion has a reserve of a tenth of both efforts.
    assert limits == pytest.approx([220 / 2.2, 210 / 1.2])
