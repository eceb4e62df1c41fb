"""The branches of a job: fitted, found in the checkpoints of an earlier start, or taken over from an earlier model."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal_algo.budget import Budget
from multimodal_algo.hyperparameters import HyperParameters
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.features import Features
from multimodal_algo.keeping import StopRequest
from multimodal_algo.labels import Target
from multimodal_algo.recipes import EFFORT, Branch, Recipe
from multimodal_algo.training.checkpoints import Below, Checkpoints
from multimodal_algo.training.earlier import NAME, Earlier

if TYPE_CHECKING:
    from multimodal_algo.modalities.base import ModalityModel

_LOG = logging.getLogger(__name__)

# The fusion network is small; the modality models get the rest.
_FUSION_SHARE = 0.1
_VECTORS = "vectors.npy"
# On fewer rows that an earlier model has not seen nothing can be said of how it does beside the new ones.
_LEAST_NEW_ROWS = 50


@dataclass(frozen=True)
class FittedModalities:
    """The models of the branches and their out-of-fold vectors, float32 (rows, branches, n + 1)."""

    models: list[tuple[Branch, ModalityModel]]
    vectors: np.ndarray

    @property
    def branches(self) -> dict[str, tuple[str, ...]]:
        """Of each branch the columns, in the order of the vectors."""
        return {model.name: model.columns for _, model in self.models}

    def predict(self, features: Features, min_completeness: float) -> np.ndarray:
        """Vectors of new rows, float32 (rows, branches, n + 1)."""
        from multimodal_algo.modalities.base import vectors_of

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
    """

    hyperparameters: HyperParameters
    recipe: Recipe
    checkpoints: Checkpoints
    scratch: Path
    seconds: dict[str, float]
    stop: StopRequest

    def fit(
        self, dataset: Dataset, target: Target, folds: np.ndarray, teacher: Earlier | None
    ) -> tuple[FittedModalities, Budget]:
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
            See `ModalityModel.fit`.
        """
        from multimodal_algo.modalities.registry import new_models

        models = new_models(dataset.schema, target.task, self.recipe.models)
        efforts = [EFFORT[branch] for branch, _ in models]
        reserve = _FUSION_SHARE * sum(efforts)
        spent_s = sum(self._spent_s(model) for _, model in models)
        budget = Budget.starting_now(max(0.0, self.hyperparameters.budget_s - spent_s))
        vectors = []
        for number, (branch, model) in enumerate(models):
            out_of_fold = self._restored(model)
            if out_of_fold is None:
                keeper = self.checkpoints.below(f"fitting/{model.name}")
                if teacher is not None:
                    model.teacher = teacher.model(model.name)
                out_of_fold = model.fit(
                    dataset.features,
                    target.values,
                    folds,
                    budget.share(efforts[number], sum(efforts[number:]) + reserve),
                    models=self.recipe.models[branch],
                    min_completeness=self.hyperparameters.min_completeness,
                    seed=self.hyperparameters.seed,
                    scratch=self.scratch / model.name,
                    keeper=keeper,
                    stop=self.stop,
                )
                self._keep(model, out_of_fold, keeper)
            vectors.append(out_of_fold)
        return FittedModalities(models, np.stack(vectors, axis=1)), budget

    def _spent_s(self, model: ModalityModel) -> float:
        """What earlier starts of the job took for a branch, or for whole parts of it, in seconds.

        A fit that goes on from its own state counts the time of that state itself.
        """
        fitting = f"fitting/{model.name}"
        parts = [f"models/{model.name}", *(f"{fitting}/{part}" for part in self.checkpoints.names(fitting))]
        return max(self.checkpoints.spent_s(part) for part in parts)

    def _restored(self, model: ModalityModel) -> np.ndarray | None:
        name = f"models/{model.name}"
        part = self.checkpoints.find(name)
        if part is None:
            return None
        model.load(part)
        self.seconds[model.name] = round(self.checkpoints.spent_s(name), 2)
        _LOG.info("%s: taken from the checkpoint of an earlier start", model.name)
        return np.asarray(np.load(part / _VECTORS), dtype=np.float32)

    def _keep(self, model: ModalityModel, vectors: np.ndarray, keeper: Below) -> None:
        def write(directory: Path) -> None:
            model.save(directory)
            np.save(directory / _VECTORS, vectors)

        self.seconds[model.name] = round(keeper.spent_s, 2)
        self.checkpoints.keep(f"models/{model.name}", write, seconds=keeper.spent_s)
        self.checkpoints.drop(f"fitting/{model.name}")

    def adopt(
        self, fitted: FittedModalities, earlier: Earlier, dataset: Dataset, target: Target, folds: np.ndarray
    ) -> FittedModalities:
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
        is_new = earlier.is_new(dataset.keys)
        if not is_new.all():
            _LOG.info(
                "model channel: the earlier model knows %d of %d rows, or copies; it is judged on the others",
                len(is_new) - int(is_new.sum()), len(is_new),
            )  # fmt: skip
        models = earlier.adopted(target.task, target.classes)
        if is_new.sum() < _LEAST_NEW_ROWS or not models:
            return fitted
        rows = np.flatnonzero(is_new)
        features = dataset.features.take(rows)
        vectors = np.zeros((len(dataset), len(models), target.task.outputs + 1), dtype=np.float32)
        vectors[:, :, -1] = 1.0
        for number, (_, model) in enumerate(models):
            vectors[rows, number] = self._said(model, features, target.values[rows], folds[rows])
        return FittedModalities([*fitted.models, *models], np.concatenate([fitted.vectors, vectors], axis=1))

    def _said(self, model: ModalityModel, features: Features, targets: np.ndarray, folds: np.ndarray) -> np.ndarray:
        from multimodal_algo.modalities.earlier import TranslatedModel

        least = self.hyperparameters.min_completeness
        if not isinstance(model, TranslatedModel):
            return model.predict(features, min_completeness=least)
        return model.fit_translation(features, targets, folds, min_completeness=least)


def without_earlier(vectors: np.ndarray, branches: Iterable[str], rows: np.ndarray) -> np.ndarray:
    """`vectors` (rows, branches, n + 1) with nothing said of `rows`, bool (rows,), by earlier models."""
    said = vectors.copy()
    for number, name in enumerate(branches):
        if name.startswith(f"{NAME}/"):
            said[rows, number] = np.eye(vectors.shape[2])[-1]
    return said
