"""Folds of AutoGluon's bags fitted on several hosts.

AutoGluon has a strategy for Ray, but its models come back through S3 or a shared file system; these come back as the
files of a task.
"""

from __future__ import annotations

import copy
import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from autogluon.core.models.ensemble import bagged_ensemble_model
from autogluon.core.models.ensemble.fold_fitting_strategy import SequentialLocalFoldFittingStrategy
from autogluon.core.utils.exceptions import AutoGluonException, TimeLimitExceeded

from multimodal_algo.execution.protocol import Parallelism, Shared, WorkItem

_EXPECTED = (AutoGluonException, MemoryError, ImportError)


@contextmanager
def parallel_folds(parallelism: Parallelism) -> Iterator[None]:
    """While inside, AutoGluon's sequential strategy fits the folds of a bag by `parallelism`."""

    class Strategy(_ParallelFolds):
        leave = parallelism

    before = bagged_ensemble_model.SequentialLocalFoldFittingStrategy
    bagged_ensemble_model.SequentialLocalFoldFittingStrategy = Strategy
    try:
        yield
    finally:
        bagged_ensemble_model.SequentialLocalFoldFittingStrategy = before


class _ParallelFolds(SequentialLocalFoldFittingStrategy):
    leave: ClassVar[Parallelism]

    def after_all_folds_scheduled(self) -> None:
        """Fit the folds, and take them in their order, as the sequential strategy does."""
        plain = copy.copy(self)
        plain.__class__ = SequentialLocalFoldFittingStrategy
        executor = self.leave.executor
        shared: Shared[Any] = executor.share(plain)
        limit_s = self._limit_s()
        tasks = [
            WorkItem(f"{self.model_base.name}, fold {number + 1}", _FitFold(shared, number, limit_s))
            for number in range(len(self.jobs))
        ]
        with tempfile.TemporaryDirectory(prefix="multimodal-folds-") as scratch:
            fitted = {}
            for done in executor.run(tasks, Path(scratch)):
                if isinstance(done.value, Exception):
                    raise done.value
                fitted[done.number] = done
            for number, fold_ctx in enumerate(self.jobs):
                done = fitted[number]
                model = type(self.model_base).load(str(done.directory), verbose=False)
                model.set_contexts(str(Path(self.bagged_ensemble_model.path) / model.name))
                self._update_bagged_ensemble(model, done.value, fold_ctx)

    def _limit_s(self) -> float | None:
        """Seconds for one fold."""
        if self.time_limit is None:
            return None
        left_s = self.time_limit - (time.time() - self.time_start)
        if left_s <= 0:
            raise TimeLimitExceeded
        return left_s / math.ceil(len(self.jobs) / self.leave.at_once) * self.time_limit_fold_ratio


@dataclass(frozen=True)
class _FitFold:
    """The work of one fold: leaves its model, and returns its answers for the fold's rows, or why it was not fitted."""

    strategy: Shared[Any]
    number: int
    limit_s: float | None

    def __call__(self, directory: Path) -> np.ndarray | Exception:
        strategy = self.strategy.get()
        # Whether the time is enough for the folds that follow is nothing that one of them can tell.
        fold_ctx = {**strategy.jobs[self.number], "is_last_fold": True}
        kwargs = strategy.model_base_kwargs
        try:
            model = strategy._fit(strategy.model_base, time.time(), self.limit_s, fold_ctx, kwargs)
            model, answers = strategy._predict_oof(model, fold_ctx)
        except _EXPECTED as error:
            return error
        model.save(str(directory), verbose=False)
        return np.asarray(answers)
