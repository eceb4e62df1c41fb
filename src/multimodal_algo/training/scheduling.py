"""The work of fitting one branch, and how the budget is dealt to branches that are fitted at the same time."""

from __future__ import annotations

import heapq
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal_algo.config.recipes import ModelSettings
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.checkpointing import StopRequest
from multimodal_algo.execution.protocol import Parallelism, Shared
from multimodal_algo.ingest.features import Features
from multimodal_algo.training.checkpoints import ScopedCheckpoints

if TYPE_CHECKING:
    from multimodal_algo.branches.base import BranchModel


@dataclass(frozen=True)
class Rows:
    """What branches are fitted to.

    Parameters
    ----------
    features
        All rows.
    targets
        Class index of each row, int (rows,), or its number, float (rows,).
    folds
        Fold of each row, int (rows,).
    """

    features: Features
    targets: np.ndarray
    folds: np.ndarray


@dataclass(frozen=True)
class FitBranch:
    """The work of a branch: leaves its model in the directory, and returns its out-of-fold vectors and its seconds.

    Parameters
    ----------
    model
        Not yet fitted.
    rows
        What it is fitted to.
    models
        AutoGluon's models, from the recipe.
    limit_s
        Seconds to be done in.
    min_completeness, seed, keeper, stop, spread
        See `BranchModel.fit`.
    """

    model: BranchModel
    rows: Shared[Rows]
    models: ModelSettings
    limit_s: float
    min_completeness: float
    seed: int
    checkpoints: ScopedCheckpoints | None = None
    stop: StopRequest | None = None
    parallelism: Parallelism | None = None

    def __call__(self, directory: Path) -> tuple[np.ndarray, float]:
        """Out-of-fold vectors, float32 (rows, n + 1), and how long they took, over all starts of the job."""
        started = time.monotonic() - (0.0 if self.checkpoints is None else self.checkpoints.spent_s)
        rows = self.rows.get()
        with tempfile.TemporaryDirectory(prefix="multimodal-fit-") as scratch:
            vectors = self.model.fit(
                rows.features,
                rows.targets,
                rows.folds,
                Budget.starting_now(self.limit_s),
                models=self.models,
                min_completeness=self.min_completeness,
                seed=self.seed,
                scratch=Path(scratch) / self.model.name,
                checkpoints=self.checkpoints,
                stop=self.stop,
                parallelism=self.parallelism,
            )
            self.model.save(directory)
        return vectors, time.monotonic() - started


def seconds_of_each(efforts: Sequence[float], places: int, available_s: float) -> list[float]:
    """How long each of several fits may take so that all are done in time, the longest first, each in its proportion.

    Parameters
    ----------
    efforts
        How much each takes, relative to the others.
    places
        How many are done at the same time.
    available_s
        Seconds for all.
    """
    ends = [0.0] * max(1, places)
    for effort in sorted(efforts, reverse=True):
        heapq.heapreplace(ends, ends[0] + effort)
    return [available_s * effort / max(ends) for effort in efforts]


def ranks_of_each(fits: int, gpus: int, of_host: int, nodes: int) -> int:
    """How many processes fine-tune each of several networks together.

    Over hosts only where that is asked for: a step would wait for the network between them.

    Parameters
    ----------
    fits
        How many networks are fine-tuned.
    gpus
        GPUs of all hosts.
    of_host
        GPUs of each host that has any.
    nodes
        How many hosts are asked for.
    """
    if nodes > 1:
        return nodes * max(1, of_host)
    return max(1, min(of_host, gpus // max(1, fits)))
