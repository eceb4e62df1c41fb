"""The plan for fitting branches: how long each may take, and which hosts and GPUs are shared."""

from __future__ import annotations

import heapq
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from multimodal_algo.branches.base import BranchModel, TrainingRows
from multimodal_algo.branches.registry import BranchSpec
from multimodal_algo.core.budget import Budget
from multimodal_algo.execution.protocol import Resources, Shared
from multimodal_algo.predictors.base import FitSettings
from multimodal_algo.predictors.finetune.parts import PARTS
from multimodal_algo.training.checkpoints import ScopedCheckpoints


@dataclass(frozen=True)
class FitBranch:
    """The work item (which any host can do) that fits one branch (partial model) and leaves its model in a directory.

    Parameters
    ----------
    model
        A model that is not fitted yet.
    rows
        Training rows.
    settings
        Settings of the fit. The host that runs the fit replaces the scratch directory and the budget, because it has a
        disk and a clock of its own.
    limit_s
        Seconds that the fit may take.
    min_completeness
        See `BranchModel.informed`.
    checkpoints
        Store for finished parts of the fit. None on hosts without the checkpoints.
    """

    model: BranchModel
    rows: Shared[TrainingRows]
    settings: FitSettings
    limit_s: float
    min_completeness: float
    checkpoints: ScopedCheckpoints | None = None

    def __call__(self, directory: Path) -> tuple[np.ndarray, float]:
        """Fit the branch. Return its out-of-fold votes, float32 (rows, n + 1), and the seconds of the fit.

        The seconds include those of previous starts of the job.
        """
        started = time.monotonic() - (0.0 if self.checkpoints is None else self.checkpoints.spent_s)
        with tempfile.TemporaryDirectory(prefix="multimodal-fit-") as scratch:
            settings = replace(
                self.settings,
                scratch=Path(scratch),
                budget=Budget.starting_now(self.limit_s),
                checkpoints=self.checkpoints,
            )
            votes = self.model.fit(self.rows.get(), settings, min_completeness=self.min_completeness)
            self.model.save(directory)
        return votes, time.monotonic() - started


@dataclass(frozen=True)
class BranchPlan:
    """How the branches (partial models) of a job share hosts and time.

    Parameters
    ----------
    resources
        Hosts and GPUs of the job.
    ranks
        Number of processes that fine-tune each network together.
    """

    resources: Resources
    ranks: int

    @classmethod
    def of(cls, specs: Sequence[BranchSpec], resources: Resources, nodes: int) -> BranchPlan:
        """Plan the fits of several branches (partial models).

        Parameters
        ----------
        specs
            The declaration of each branch.
        resources
            Hosts and GPUs of the job.
        nodes
            Number of hosts that the user wants to fine-tune each network together.
        """
        networks = PARTS * sum(spec.is_fine_tuned for spec in specs)
        return cls(resources, ranks_of_each(networks, resources.gpus, resources.gpus_per_host, nodes))

    @property
    def parts_at_once(self) -> int:
        """Number of parts of fine-tuned branches (one network each) that the hosts fit at the same time."""
        return self.resources.gpus or self.resources.width

    def folds_at_once(self, specs: Sequence[BranchSpec]) -> int:
        """Return the number of folds of one branch (partial model) that the hosts fit at the same time."""
        branches = sum(not spec.is_fine_tuned for spec in specs)
        return self.resources.width // max(1, branches)

    def seconds(self, specs: Sequence[BranchSpec], available_s: float) -> list[float]:
        """Return the seconds for each fit, so that all fits are finished in time.

        Fine-tuned branches (partial models) need GPUs and other branches do not, so both may run at the same time.
        Without GPUs, all branches share the same cores.

        Parameters
        ----------
        specs
            The declaration of each branch that is still to be fitted.
        available_s
            Seconds for all fits together.
        """
        tabular = [spec.effort for spec in specs if not spec.is_fine_tuned]
        parts = [spec.effort / PARTS for spec in specs if spec.is_fine_tuned for _ in range(PARTS)]
        total = sum(tabular) + sum(parts)
        shares = [1.0, 1.0] if self.resources.gpus else [sum(tabular) / total, sum(parts) / total]
        at_once = max(1, self.parts_at_once // self.ranks)
        of_tabular = iter(seconds_of_each(tabular, self.resources.width, available_s * shares[0]))
        of_parts = iter(seconds_of_each(parts, at_once, available_s * shares[1])[::PARTS])
        return [PARTS * next(of_parts) if spec.is_fine_tuned else next(of_tabular) for spec in specs]


def seconds_of_each(efforts: Sequence[float], at_once: int, available_s: float) -> list[float]:
    """Return the seconds for each of several fits, in proportion to their efforts, so that all are finished in time.

    Parameters
    ----------
    efforts
        Effort of each fit, relative to the others. The fit with the highest effort begins first.
    at_once
        Number of fits at the same time.
    available_s
        Seconds for all fits together.
    """
    ends = [0.0] * max(1, at_once)
    for effort in sorted(efforts, reverse=True):
        heapq.heapreplace(ends, ends[0] + effort)
    return [available_s * effort / max(ends) for effort in efforts]


def ranks_of_each(fits: int, gpus: int, gpus_per_host: int, nodes: int) -> int:
    """Return how many processes fine-tune each of several networks together.

    They run on several hosts only if the user wants it, because each training step would wait for the network
    connection between the hosts.

    Parameters
    ----------
    fits
        Number of networks that are fine-tuned.
    gpus
        Number of GPUs of all hosts.
    gpus_per_host
        Number of GPUs of each host that has any.
    nodes
        Number of hosts that the user wants for each network.
    """
    if nodes > 1:
        return nodes * max(1, gpus_per_host)
    return max(1, min(gpus_per_host, gpus // max(1, fits)))
