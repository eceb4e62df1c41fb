"""The branches of a job: fitted, found in the checkpoints of an earlier start, or taken over from an earlier model."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.recipes import EFFORT, FINE_TUNED, PARTS, Branch, Recipe
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.checkpointing import StopRequest
from multimodal_algo.core.files import move_files
from multimodal_algo.core.labels import Target
from multimodal_algo.execution.local import LocalExecutor
from multimodal_algo.execution.protocol import Executor, Parallelism, SentDirectory, Shared, WorkItem, WorkResult
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.features import Features
from multimodal_algo.training.checkpoints import Checkpoints, ScopedCheckpoints
from multimodal_algo.training.continuing.previous import NAME, PreviousModel
from multimodal_algo.training.scheduling import FitBranch, Rows, ranks_of_each, seconds_of_each

if TYPE_CHECKING:
    from multimodal_algo.branches.base import BranchModel

_LOG = logging.getLogger(__name__)

# The fusion network is small; the modality models get the rest.
_FUSION_SHARE = 0.1
_VECTORS = "vectors.npy"
# Of AutoMM's hyperparameters those that may name a directory.
_CHECKPOINT = ".checkpoint_name"
# On fewer rows that an earlier model has not seen nothing can be said of how it does beside the new ones.
_LEAST_NEW_ROWS = 50


_Fit = tuple[int, Branch, "BranchModel"]
"""A branch that is to be fitted: its place, its kind, its model."""


@dataclass(frozen=True)
class FittedBranches:
    """The models of the branches and their out-of-fold vectors, float32 (rows, branches, n + 1)."""

    models: list[tuple[Branch, BranchModel]]
    vectors: np.ndarray

    @property
    def branches(self) -> dict[str, tuple[str, ...]]:
        """Of each branch the columns, in the order of the vectors."""
        return {model.name: model.columns for _, model in self.models}

    def predict(self, features: Features, min_completeness: float) -> np.ndarray:
        """Vectors of new rows, float32 (rows, branches, n + 1)."""
        from multimodal_algo.branches.base import vectors_of

        return vectors_of((model for _, model in self.models), features, min_completeness=min_completeness)


@dataclass(frozen=True)
class Fitting:
    """How branches are fitted.

    Parameters
    ----------
    hyperparameters
        Of the job.
    recipe
        With its changes.
    checkpoints
        Where finished branches are kept.
    scratch
        Directory for AutoGluon's files.
    seconds
        Gets the seconds of each branch, over all starts of the job.
    stop
        Tells when the process is to end.
    executor
        Who fits.
    """

    hyperparameters: HyperParameters
    recipe: Recipe
    checkpoints: Checkpoints
    scratch: Path
    seconds: dict[str, float]
    stop: StopRequest
    executor: Executor

    def fit(
        self, dataset: Dataset, target: Target, folds: np.ndarray, teacher: PreviousModel | None
    ) -> tuple[FittedBranches, Budget]:
        """Fit all branches of the recipe that the data has columns for.

        Parameters
        ----------
        dataset
            The rows.
        target
            What is predicted.
        folds
            Fold of each row, int (rows,).
        teacher
            Whose fine-tuned networks teach those of the same branches.

        Returns
        -------
        fitted
            The branches.
        budget
            What is left for the fusion.

        Raises
        ------
        UserError
            See `BranchModel.fit`.
        """
        from multimodal_algo.branches.registry import new_models

        models = new_models(dataset.schema, target.task, self.recipe.models)
        spent_before_s = self.checkpoints.used_s(part for _, model in models for part in self._parts(model))
        budget = Budget.starting_now(max(0.0, self.hyperparameters.budget_s - spent_before_s))
        vectors = {n: found for n, (_, model) in enumerate(models) if (found := self._restored(model)) is not None}
        waiting = [(n, branch, model) for n, (branch, model) in enumerate(models) if n not in vectors]
        rows = Rows(dataset.features, target.values, folds)
        # A teacher is on this host alone.
        taught = [fit for fit in waiting if teacher is not None and fit[1] in FINE_TUNED]
        for n, out_of_fold in self._spread([fit for fit in waiting if fit not in taught], rows, budget):
            vectors[n] = out_of_fold
        for _, _, model in taught:
            assert teacher is not None
            model.teacher = teacher.model(model.name)
        for n, out_of_fold in self._in_turn(taught, rows, budget):
            vectors[n] = out_of_fold
        return FittedBranches(models, np.stack([vectors[n] for n in range(len(models))], axis=1)), budget

    def _spread(self, fits: Sequence[_Fit], rows: Rows, budget: Budget) -> Iterator[tuple[int, np.ndarray]]:
        """Fit branches on all hosts at the same time."""
        if self.executor.is_alone:
            yield from self._in_turn(fits, rows, budget)
            return
        if not fits:
            return
        shared = self.executor.share(rows)
        available_s = budget.remaining_s / (1 + _FUSION_SHARE)
        # The longest first, so that none of them is begun when the others are nearly done.
        tabular = sorted((fit for fit in fits if fit[1] not in FINE_TUNED), key=lambda fit: -EFFORT[fit[1]])
        tuned = [fit for fit in fits if fit[1] in FINE_TUNED]
        # Without GPUs all of them take turns on the same cores.
        efforts = [sum(EFFORT[branch] for _, branch, _ in some) for some in (tabular, tuned)]
        shares = [1.0, 1.0] if self.executor.gpus else [effort / sum(efforts) for effort in efforts]
        tasks = [
            *self._tabular(tabular, shared, available_s * shares[0]),
            *self._tuned(tuned, shared, available_s * shares[1], self._used_s(budget)),
        ]
        ordered = [*tabular, *tuned]
        for done in self.executor.run(tasks, self.scratch / "branches"):
            n, _, model = ordered[done.number]
            yield n, self._keep(done, model, self._used_s(budget))

    def _tabular(self, fits: Sequence[_Fit], rows: Shared[Rows], available_s: float) -> Iterator[WorkItem]:
        width = self.executor.width
        at_once = width // len(fits) if fits else 1
        limits = seconds_of_each([EFFORT[branch] for _, branch, _ in fits], width, available_s)
        for (_, branch, model), limit_s in zip(fits, limits, strict=True):
            parallelism = Parallelism(self.executor, at_once) if at_once > 1 else None
            yield WorkItem(model.name, self._work(branch, model, rows, limit_s, parallelism=parallelism))

    def _tuned(self, fits: Sequence[_Fit], rows: Shared[Rows], available_s: float, used_s: float) -> Iterator[WorkItem]:
        """What is fine-tuned takes GPUs, of which the rest takes none; several for one part where there are many.

        Whoever asks for the parts of a fit is on this host, where they are kept.
        """
        places = self.executor.gpus or self.executor.width
        parts = [EFFORT[branch] / PARTS for _, branch, _ in fits for _ in range(PARTS)]
        nodes = max([1, *(self._nodes(branch) for _, branch, _ in fits)])
        ranks = ranks_of_each(len(parts), self.executor.gpus, self.executor.gpus_of_host, nodes)
        limits = seconds_of_each(parts, max(1, places // ranks), available_s)[::PARTS]
        for (_, branch, model), limit_s in zip(fits, limits, strict=True):
            models = {
                key: SentDirectory.send(Path(value), self.executor)
                if key.endswith(_CHECKPOINT) and Path(str(value)).is_dir()
                else value
                for key, value in self.recipe.models[branch].items()
            }
            parallelism = Parallelism(self.executor, places, ranks)
            checkpoints = self.checkpoints.below(f"fitting/{model.name}", used_s)
            work = self._work(branch, model, rows, limit_s * PARTS, checkpoints=checkpoints, parallelism=parallelism)
            yield WorkItem(model.name, replace(work, models=models), host=self.executor.hosts[0], coordinates=True)

    def _nodes(self, branch: Branch) -> int:
        """How many hosts the user wants for one fit."""
        return int(self.recipe.models[branch].get("env.num_nodes", 1))

    def _in_turn(self, fits: Sequence[_Fit], rows: Rows, budget: Budget) -> Iterator[tuple[int, np.ndarray]]:
        """Fit branches here, one after the other; one that was stopped before goes on."""
        here = LocalExecutor()
        shared = here.share(rows)
        efforts = [EFFORT[branch] for _, branch, _ in fits]
        reserve = _FUSION_SHARE * sum(efforts)

        def tasks() -> Iterator[WorkItem]:
            for place, (_, branch, model) in enumerate(fits):
                limit_s = budget.share(efforts[place], sum(efforts[place:]) + reserve).remaining_s
                checkpoints = self.checkpoints.below(f"fitting/{model.name}", self._used_s(budget))
                scopes.append(checkpoints)
                yield WorkItem(model.name, self._work(branch, model, shared, limit_s, checkpoints=checkpoints))

        scopes: list[ScopedCheckpoints] = []
        for done in here.run(tasks(), self.scratch / "branches.here"):
            n, _, model = fits[done.number]
            yield n, self._keep(done, model, scopes[done.number].used_s)

    def _work(
        self,
        branch: Branch,
        model: BranchModel,
        rows: Shared[Rows],
        limit_s: float,
        *,
        checkpoints: ScopedCheckpoints | None = None,
        parallelism: Parallelism | None = None,
    ) -> FitBranch:
        return FitBranch(
            model,
            rows,
            self.recipe.models[branch],
            limit_s,
            self.hyperparameters.min_completeness,
            self.hyperparameters.seed,
            checkpoints,
            self.stop if checkpoints is not None and parallelism is None else None,
            parallelism,
        )

    def _used_s(self, budget: Budget) -> float:
        return self.hyperparameters.budget_s - budget.remaining_s

    def _parts(self, model: BranchModel) -> list[str]:
        """The names of what is kept of a branch: itself, or whole parts of it.

        The state of a running fit is none: a fit that goes on from it counts its time itself.
        """
        fitting = f"fitting/{model.name}"
        return [f"models/{model.name}", *(f"{fitting}/{part}" for part in self.checkpoints.names(fitting))]

    def _restored(self, model: BranchModel) -> np.ndarray | None:
        name = f"models/{model.name}"
        part = self.checkpoints.find(name)
        if part is None:
            return None
        model.load(part)
        self.seconds[model.name] = round(self.checkpoints.spent_s(name), 2)
        _LOG.info("%s: taken from the checkpoint of an earlier start", model.name)
        return np.asarray(np.load(part / _VECTORS), dtype=np.float32)

    def _keep(self, done: WorkResult, model: BranchModel, used_s: float) -> np.ndarray:
        """Keep a branch that was fitted, and load its model."""
        vectors, seconds = done.value

        def write(directory: Path) -> None:
            move_files(done.directory, directory)
            np.save(directory / _VECTORS, vectors)

        self.seconds[model.name] = round(seconds, 2)
        part = self.checkpoints.keep(f"models/{model.name}", write, seconds=seconds, used_s=used_s)
        self.checkpoints.drop(f"fitting/{model.name}")
        model.load(part)
        return np.asarray(vectors)

    def adopt(
        self, fitted: FittedBranches, previous: PreviousModel, dataset: Dataset, target: Target, folds: np.ndarray
    ) -> FittedBranches:
        """The branches, and those of an earlier model.

        Of rows that it was trained on, and of their copies, an earlier model knows the label: it says nothing here.

        Parameters
        ----------
        fitted
            The branches of this job.
        earlier
            The earlier model.
        dataset, target, folds
            See `fit`.
        """
        is_new = previous.is_new(dataset.keys)
        if not is_new.all():
            _LOG.info(
                "model channel: the earlier model knows %d of %d rows, or copies; it is judged on the others",
                len(is_new) - int(is_new.sum()), len(is_new),
            )  # fmt: skip
        models = previous.adopted(target.task, target.classes)
        if is_new.sum() < _LEAST_NEW_ROWS or not models:
            return fitted
        rows = np.flatnonzero(is_new)
        features = dataset.features.take(rows)
        vectors = np.zeros((len(dataset), len(models), target.task.outputs + 1), dtype=np.float32)
        vectors[:, :, -1] = 1.0
        for number, (_, model) in enumerate(models):
            vectors[rows, number] = self._said(model, features, target.values[rows], folds[rows])
        return FittedBranches([*fitted.models, *models], np.concatenate([fitted.vectors, vectors], axis=1))

    def _said(self, model: BranchModel, features: Features, targets: np.ndarray, folds: np.ndarray) -> np.ndarray:
        from multimodal_algo.branches.translated import TranslatedModel

        least = self.hyperparameters.min_completeness
        if not isinstance(model, TranslatedModel):
            return model.predict(features, min_completeness=least)
        return model.fit_translation(features, targets, folds, min_completeness=least)


def without_previous(vectors: np.ndarray, branches: Iterable[str], rows: np.ndarray) -> np.ndarray:
    """`vectors` (rows, branches, n + 1) with nothing said of `rows`, bool (rows,), by earlier models."""
    said = vectors.copy()
    for number, name in enumerate(branches):
        if name.startswith(f"{NAME}/"):
            said[rows, number] = np.eye(vectors.shape[2])[-1]
    return said
