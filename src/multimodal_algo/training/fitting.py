"""The models of all branches of a job: fitted now, or taken from the checkpoints of a previous start."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
from multimodal_algo.training.fit_progress import FitProgress
from multimodal_algo.training.scheduling import BranchPlan, FitBranch
from multimodal_algo.training.target_transform import learns_logarithm

_LOG = logging.getLogger(__name__)

# The fusion network is small. It gets this share of the efforts of all branches.
_FUSION_SHARE = 0.1
_VOTES = "votes.npy"
# AutoMM's hyperparameters that may name a directory end with this.
_CHECKPOINT = ".checkpoint_name"


@dataclass(frozen=True)
class FittedBranches:
    """The fitted models of all branches (partial models), with their out-of-fold votes on the training rows."""

    models: list[tuple[Branch, BranchModel]]
    votes: Votes

    @property
    def branches(self) -> dict[str, tuple[str, ...]]:
        """The columns that each branch (partial model) reads, by its name and in the order of the votes."""
        return {model.name: model.columns for _, model in self.models}

    def predict(self, features: Features, min_completeness: float) -> Votes:
        """Return the votes of all branches (partial models) on new rows."""
        return votes_of((model for _, model in self.models), features, min_completeness=min_completeness)


@dataclass(frozen=True)
class BranchFit:
    """A branch (partial model) that is still to be fitted.

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
    """Fits the models of all branches (partial models) of a job.

    Parameters
    ----------
    hyperparameters
        Hyperparameters of the job.
    recipe
        Recipe of the job, with the user's changes.
    checkpoints
        Store for finished branches.
    scratch
        Directory for temporary files.
    seconds
        Seconds of each branch over all starts of the job. Each fit adds its time here.
    stop
        Request to save the state and end soon.
    executor
        Runs the fits on the hosts of the job.
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
        """Return an object that fits the branches (partial models) of `recipe` in a job."""
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
        """Fit each branch (partial model) of the recipe for which the data has columns.

        Parameters
        ----------
        dataset
            Training rows.
        target
            Labels of the training rows.
        folds
            Fold of each row, int (rows,).
        teacher
            A model whose fine-tuned networks teach the same branches, or None.

        Returns
        -------
        fitted
            The fitted branches.
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
        if fits:
            rows = replace(rows, logarithm=learns_logarithm(rows, models, self.hyperparameters))
        votes |= self.fit_branches(fits, rows, budget, teacher, finished=len(votes))
        return FittedBranches(models, Votes.stack([votes[n] for n in range(len(models))])), budget

    def fit_branches(
        self,
        fits: Sequence[BranchFit],
        rows: TrainingRows,
        budget: Budget,
        teacher: PreviousModel | None = None,
        *,
        finished: int = 0,
    ) -> dict[int, np.ndarray]:
        """Fit several branches (partial models) on the hosts of the job, and save each one as soon as it is finished.

        Parameters
        ----------
        fits
            The branches to fit.
        rows
            Training rows.
        budget
            The time for the branches and for the fusion afterwards.
        teacher
            See `fit`.
        finished
            Number of branches that a previous start has fitted.

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
        progress = FitProgress({fit.model.name: fit.spec.effort for fit in fits}, finished, budget)
        run = _Run(self, self._ordered(fits), self.executor.share(rows), budget, teacher, progress)
        try:
            with progress:
                return dict(run.results())
        finally:
            forget_counts()

    def _ordered(self, fits: Sequence[BranchFit]) -> list[BranchFit]:
        """Return the fits with the longest first, if several run at the same time.

        Then no long fit begins near the end.
        """
        if self.executor.resources.in_process:
            return list(fits)
        return sorted(fits, key=lambda fit: (fit.spec.is_fine_tuned, -fit.spec.effort))

    def used_s(self, budget: Budget) -> float:
        """Return how many seconds of the budget the job has used."""
        return self.hyperparameters.budget_s - budget.remaining_s

    def parts_of(self, model: BranchModel) -> list[str]:
        """Return the names of a branch's checkpoints: the fitted branch (partial model), and finished parts of its fit.

        The state of a running fit does not count. A fit that continues from it counts its own time.
        """
        fitting = f"fitting/{model.name}"
        return [f"models/{model.name}", *(f"{fitting}/{part}" for part in self.checkpoints.names(fitting))]

    def _restored(self, model: BranchModel) -> np.ndarray | None:
        """Load a branch (partial model) that a previous start has finished, and return its out-of-fold votes.

        Return None if it is not finished.
        """
        name = f"models/{model.name}"
        part = self.checkpoints.find(name)
        if part is None:
            return None
        model.load(part, self.hyperparameters.inference_engine)
        self.seconds[model.name] = round(self.checkpoints.spent_s(name), 2)
        _LOG.info("%s: taken from the checkpoint of a previous start", model.name)
        return np.asarray(np.load(part / _VOTES))

    def save(self, result: WorkResult, model: BranchModel, used_s: float) -> np.ndarray:
        """Save a fitted branch (partial model) in the checkpoints, and load its model from there.

        Return out-of-fold votes.
        """
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
    """The fits of several branches (partial models), run by the executor."""

    def __init__(
        self,
        fitting: Fitting,
        fits: list[BranchFit],
        rows: Shared[TrainingRows],
        budget: Budget,
        teacher: PreviousModel | None,
        progress: FitProgress,
    ) -> None:
        self._fitting = fitting
        self._progress = progress
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
        """Yield number and out-of-fold votes of each branch (partial model) as soon as it is fitted and saved."""
        for result in self._executor.run(self._items(), self._fitting.scratch / "branches"):
            self._finished.add(result.number)
            self._progress.finish(self._fits[result.number].model.name)
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
            self._progress.begin(fit.model.name)
            yield WorkItem(fit.model.name, work, host=host, coordinates=coordinates)

    def _limit_s(self, number: int) -> float:
        """Return the seconds for a fit.

        In a single process, fits begin one after the other, so each may use the time that previous ones left over.
        Otherwise all limits are set at the beginning.
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
        """Return the settings of a branch's models, from the recipe. Directories in them are sent to all hosts."""
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
        """Return the checkpoints of a fit.

        Return None if another host may run the fit, because only this host has them.
        """
        fit = self._fits[number]
        if not (fit.spec.is_fine_tuned or self._executor.resources.in_process):
            return None
        used_s = self._fitting.used_s(self._budget)
        self._scopes[number] = self._fitting.checkpoints.scoped(f"fitting/{fit.model.name}", used_s)
        return self._scopes[number]

    def _sent_teacher(self, fit: BranchFit) -> SentDirectory | None:
        """Return the directory of the teacher's model of the same branch, sent to all hosts.

        None without such a model.
        """
        if self._teacher is None or not fit.spec.is_fine_tuned:
            return None
        if all(entry.name != fit.model.name for entry in self._teacher.config.branches):
            return None
        return SentDirectory.send(self._teacher.directory / fit.model.name, self._executor)

    def _nodes(self, fit: BranchFit) -> int:
        """Return the number of hosts that the user wants to fine-tune each network of the branch together."""
        settings = self._fitting.recipe.models[fit.spec.branch]
        return int(settings.get("env.num_nodes", 1)) if fit.spec.is_fine_tuned else 1
