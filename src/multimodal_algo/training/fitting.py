"""The branches of a job: fitted now, or found in the checkpoints of a previous start."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multimodal_algo.branches.base import BranchModel, TrainingRows
from multimodal_algo.branches.registry import SPECS, BranchSpec, new_models
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.recipes import Branch, ModelSettings, Recipe
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.checkpointing import StopRequest
from multimodal_algo.core.files import move_files
from multimodal_algo.core.labels import Target
from multimodal_algo.execution.protocol import Executor, Parallelism, SentDirectory, Shared, WorkItem, WorkResult
from multimodal_algo.fusion.votes import Votes, votes_of
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.features import Features
from multimodal_algo.predictors.base import FitSettings
from multimodal_algo.predictors.token_counts import forget_counts
from multimodal_algo.training.checkpoints import Checkpoints, ScopedCheckpoints
from multimodal_algo.training.context import JobContext
from multimodal_algo.training.continuing.previous import PreviousModel
from multimodal_algo.training.scheduling import BranchPlan, FitBranch

_LOG = logging.getLogger(__name__)

# The fusion network is small. It gets this share of the efforts of all branches.
_FUSION_SHARE = 0.1
_VOTES = "votes.npy"
# AutoMM's hyperparameters that may name a directory end with this.
_CHECKPOINT = ".checkpoint_name"


@dataclass(frozen=True)
class FittedBranches:
    """The models of the branches with their out-of-fold votes."""

    models: list[tuple[Branch, BranchModel]]
    votes: Votes

    @property
    def branches(self) -> dict[str, tuple[str, ...]]:
        """The columns of each branch, in the order of the votes."""
        return {model.name: model.columns for _, model in self.models}

    def predict(self, features: Features, min_completeness: float) -> Votes:
        """Return the votes of new rows."""
        return votes_of((model for _, model in self.models), features, min_completeness=min_completeness)


@dataclass(frozen=True)
class BranchFit:
    """A branch that is to be fitted.

    Parameters
    ----------
    number
        Position of the branch among all branches of the job.
    spec
        Declaration of the branch.
    model
        A model that is not fitted yet.
    """

    number: int
    spec: BranchSpec
    model: BranchModel


@dataclass(frozen=True)
class Fitting:
    """The fits of all branches of a job.

    Parameters
    ----------
    hyperparameters
        Hyperparameters of the job.
    recipe
        Recipe of the job, with its changes.
    checkpoints
        Store for finished branches.
    scratch
        Directory for temporary files.
    seconds
        Seconds of each branch over all starts of the job. A fit adds its own.
    stop
        Request that the process ends soon.
    executor
        Executor of the fits.
    """

    hyperparameters: HyperParameters
    recipe: Recipe
    checkpoints: Checkpoints
    scratch: Path
    seconds: dict[str, float]
    stop: StopRequest
    executor: Executor

    @classmethod
    def of(cls, context: JobContext, recipe: Recipe) -> Fitting:
        """Fit the branches of `recipe` in the setting of a job."""
        return cls(
            context.hyperparameters,
            recipe,
            context.checkpoints,
            context.scratch,
            context.times.seconds,
            context.stop,
            context.executor,
        )

    def fit(
        self, dataset: Dataset, target: Target, folds: np.ndarray, teacher: PreviousModel | None
    ) -> tuple[FittedBranches, Budget]:
        """Fit all branches of the recipe that the data has columns for.

        Parameters
        ----------
        dataset
            Training rows.
        target
            Labels of the rows.
        folds
            Fold of each row, int (rows,).
        teacher
            Model whose fine-tuned networks teach those of the same branches, or None.

        Returns
        -------
        fitted
            The branches.
        budget
            The time that is left for the fusion.

        Raises
        ------
        UserError
            See `BranchModel.fit`.
        """
        models = new_models(dataset.schema, target.task, self.recipe.models)
        spent_before_s = self.checkpoints.used_s(part for _, model in models for part in self.parts_of(model))
        budget = Budget.starting_now(max(0.0, self.hyperparameters.budget_s - spent_before_s))
        votes = {n: restored for n, (_, model) in enumerate(models) if (restored := self._restored(model)) is not None}
        fits = [BranchFit(n, SPECS[branch], model) for n, (branch, model) in enumerate(models) if n not in votes]
        rows = TrainingRows(dataset.features, target.values, folds)
        votes |= self.fit_branches(fits, rows, budget, teacher)
        return FittedBranches(models, Votes.stack([votes[n] for n in range(len(models))])), budget

    def fit_branches(
        self, fits: Sequence[BranchFit], rows: TrainingRows, budget: Budget, teacher: PreviousModel | None = None
    ) -> dict[int, np.ndarray]:
        """Fit branches as work items, and save each of them when it is finished.

        Parameters
        ----------
        fits
            The branches.
        rows
            Training rows.
        budget
            The time for the branches and the fusion.
        teacher
            See `fit`.

        Returns
        -------
        dict
            Out-of-fold votes by the number of the branch, see `BranchModel.fit`.
        """
        if not fits:
            return {}
        # AutoGluon collects garbage with every fit. It need not look through the objects of all imports each time.
        gc.collect()
        gc.freeze()
        run = _Run(self, self._ordered(fits), self.executor.share(rows), budget, teacher)
        try:
            return dict(run.results())
        finally:
            forget_counts()

    def _ordered(self, fits: Sequence[BranchFit]) -> list[BranchFit]:
        """Put the longest fits first where several run at the same time. None of them then begins near the end."""
        if self.executor.resources.in_process:
            return list(fits)
        return sorted(fits, key=lambda fit: (fit.spec.is_fine_tuned, -fit.spec.effort))

    def used_s(self, budget: Budget) -> float:
        """Return the seconds of its budget that the job has used."""
        return self.hyperparameters.budget_s - budget.remaining_s

    def parts_of(self, model: BranchModel) -> list[str]:
        """Return the names of the checkpoints of a branch: the branch itself, and finished parts of its fit.

        The state of a running fit is not among them. A fit that goes on from it counts its time itself.
        """
        fitting = f"fitting/{model.name}"
        return [f"models/{model.name}", *(f"{fitting}/{part}" for part in self.checkpoints.names(fitting))]

    def _restored(self, model: BranchModel) -> np.ndarray | None:
        """Load a finished branch, and return its out-of-fold votes. Return None where it is not finished."""
        name = f"models/{model.name}"
        part = self.checkpoints.find(name)
        if part is None:
            return None
        model.load(part, self.hyperparameters.inference_engine)
        self.seconds[model.name] = round(self.checkpoints.spent_s(name), 2)
        _LOG.info("%s: taken from the checkpoint of a previous start", model.name)
        return np.asarray(np.load(part / _VOTES))

    def save(self, result: WorkResult, model: BranchModel, used_s: float) -> np.ndarray:
        """Save a branch that was fitted, load its model, and return its out-of-fold votes."""
        votes, seconds = result.value

        def write(directory: Path) -> None:
            move_files(result.directory, directory)
            np.save(directory / _VOTES, votes)

        self.seconds[model.name] = round(seconds, 2)
        part = self.checkpoints.save(f"models/{model.name}", write, seconds=seconds, used_s=used_s)
        self.checkpoints.drop(f"fitting/{model.name}")
        model.load(part, self.hyperparameters.inference_engine)
        return np.asarray(votes)


class _Run:
    """The fits of several branches by one executor."""

    def __init__(
        self,
        fitting: Fitting,
        fits: list[BranchFit],
        rows: Shared[TrainingRows],
        budget: Budget,
        teacher: PreviousModel | None,
    ) -> None:
        self._fitting = fitting
        self._executor = fitting.executor
        self._fits = fits
        self._rows = rows
        self._budget = budget
        self._teacher = teacher
        self._scopes: dict[int, ScopedCheckpoints] = {}
        self._finished: set[int] = set()
        self._specs = [fit.spec for fit in fits]
        self._plan = BranchPlan.of(self._specs, self._executor.resources, max(map(self._nodes, fits)))

    def results(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the number and the out-of-fold votes of each branch when it is finished and saved."""
        for result in self._executor.run(self._items(), self._fitting.scratch / "branches"):
            self._finished.add(result.number)
            fit, scope = self._fits[result.number], self._scopes.get(result.number)
            used_s = self._fitting.used_s(self._budget) if scope is None else scope.used_s
            yield fit.number, self._fitting.save(result, fit.model, used_s)

    def _items(self) -> Iterator[WorkItem]:
        for number, fit in enumerate(self._fits):
            work = FitBranch(
                fit.model,
                self._rows,
                self._settings(fit),
                self._limit_s(number),
                self._fitting.hyperparameters.min_completeness,
                self._scope(number),
            )
            # The fit of a fine-tuned branch only waits for its parts. It waits on this host, which has the checkpoints.
            coordinates = fit.spec.is_fine_tuned
            host = self._executor.resources.hosts[0] if coordinates else None
            yield WorkItem(fit.model.name, work, host=host, coordinates=coordinates)

    def _limit_s(self, number: int) -> float:
        """Return the seconds of a fit.

        An executor of one process takes it when the previous fits are finished, so it may use the time that they left.
        Other executors take all fits at once.
        """
        waiting = [each for each in range(len(self._fits)) if each not in self._finished]
        specs = [self._specs[each] for each in waiting]
        effort = sum(spec.effort for spec in specs)
        reserve = _FUSION_SHARE * sum(spec.effort for spec in self._specs)
        available_s = self._budget.remaining_s * effort / (effort + reserve)
        return self._plan.seconds(specs, available_s)[waiting.index(number)]

    def _settings(self, fit: BranchFit) -> FitSettings:
        fitting, fine_tuned = self._fitting, fit.spec.is_fine_tuned
        return FitSettings(
            name=fit.model.name,
            task=fit.model.task,
            model_settings=self._model_settings(fit),
            seed=fitting.hyperparameters.seed,
            scratch=fitting.scratch,
            budget=self._budget,
            stop=fitting.stop if self._executor.resources.in_process else None,
            parallelism=self._parallelism(fine_tuned=fine_tuned),
            teacher=self._sent_teacher(fit),
        )

    def _model_settings(self, fit: BranchFit) -> ModelSettings:
        """Return the settings from the recipe, with directories sent to all hosts."""
        return {
            key: SentDirectory.send(Path(value), self._executor)
            if key.endswith(_CHECKPOINT) and Path(str(value)).is_dir()
            else value
            for key, value in self._fitting.recipe.models[fit.spec.branch].items()
        }

    def _parallelism(self, *, fine_tuned: bool) -> Parallelism | None:
        if fine_tuned:
            return Parallelism(self._executor, self._plan.parts_at_once, self._plan.ranks)
        folds = self._plan.folds_at_once(self._specs)
        return Parallelism(self._executor, folds) if folds > 1 else None

    def _scope(self, number: int) -> ScopedCheckpoints | None:
        """Return the checkpoints of a fit. None where another host may run it, because only this one has them."""
        fit = self._fits[number]
        if not (fit.spec.is_fine_tuned or self._executor.resources.in_process):
            return None
        used_s = self._fitting.used_s(self._budget)
        self._scopes[number] = self._fitting.checkpoints.scoped(f"fitting/{fit.model.name}", used_s)
        return self._scopes[number]

    def _sent_teacher(self, fit: BranchFit) -> SentDirectory | None:
        """Return the directory of the teacher's model of the same branch, if it has one."""
        if self._teacher is None or not fit.spec.is_fine_tuned:
            return None
        if all(entry.name != fit.model.name for entry in self._teacher.config.branches):
            return None
        return SentDirectory.send(self._teacher.directory / fit.model.name, self._executor)

    def _nodes(self, fit: BranchFit) -> int:
        """Return the number of hosts that the user wants for one fit."""
        settings = self._fitting.recipe.models[fit.spec.branch]
        return int(settings.get("env.num_nodes", 1)) if fit.spec.is_fine_tuned else 1
