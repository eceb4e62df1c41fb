"""Fits of AutoGluon's bags (one model per fold) on several hosts. The files of each model come back to this host."""

from __future__ import annotations

import math
import tempfile
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from autogluon.core.utils.exceptions import AutoGluonException, TimeLimitExceeded

from multimodal_algo.execution.protocol import Parallelism, Shared, WorkItem
from multimodal_algo.predictors._autogluon_compat import FoldFit, folds_fitted_by

_EXPECTED = (AutoGluonException, MemoryError, ImportError)


def parallel_folds(parallelism: Parallelism) -> AbstractContextManager[None]:
    """Return a context in which AutoGluon fits the folds of a bag at the same time, on the hosts of `parallelism`."""
    return folds_fitted_by(partial(_fit_folds, parallelism))


def _fit_folds(parallelism: Parallelism, bag: FoldFit) -> None:
    """Fit the models of all folds on the hosts, and add them to the bag in the order of the folds."""
    shared = parallelism.executor.share(bag)
    limit_s = _limit_s(bag, parallelism.at_once)
    items = [WorkItem(f"{bag.name}, fold {fold + 1}", _FitFold(shared, fold, limit_s)) for fold in range(bag.folds)]
    with tempfile.TemporaryDirectory(prefix="multimodal-folds-") as scratch:
        fitted = {}
        for result in parallelism.executor.run(items, Path(scratch)):
            if isinstance(result.value, Exception):
                raise result.value
            fitted[result.number] = result
        for fold in range(bag.folds):
            bag.add(fold, str(fitted[fold].directory), fitted[fold].value)


def _limit_s(bag: FoldFit, at_once: int) -> float | None:
    """Return the seconds that one fold may take, if `at_once` folds are fitted at the same time."""
    if bag.limit_s is None:
        return None
    left_s = bag.limit_s - (time.time() - bag.started)
    if left_s <= 0:
        raise TimeLimitExceeded
    return left_s / math.ceil(bag.folds / at_once) * bag.share_of_limit


@dataclass(frozen=True)
class _FitFold:
    """The fit of one fold on any host. It saves the model and returns its predictions for the fold's rows.

    If the fit fails, it returns the error instead.
    """

    bag: Shared[FoldFit]
    fold: int
    limit_s: float | None

    def __call__(self, directory: Path) -> np.ndarray | Exception:
        try:
            model, predictions = self.bag.get().fit(self.fold, time.time(), self.limit_s)
        except _EXPECTED as error:
            return error
        model.save(str(directory), verbose=False)
        return predictions
