"""The start of a job: from nothing, or from a previous model. The steps of `job.train` are the same for both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.labels import Target
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.fusion.selection import Selector
from multimodal_algo.fusion.votes import Votes
from multimodal_algo.ingest.categories import KnownCategories
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.report.metrics import HeldOutResults, Metrics
from multimodal_algo.training.backbones import Backbones
from multimodal_algo.training.context import JobContext
from multimodal_algo.training.continuing.export import Networks
from multimodal_algo.training.data import TrainingData
from multimodal_algo.training.fitting import FittedBranches

NewModel = Callable[[Path, Metrics], None]
"""Writes the artifact of the new model into the model directory, with these metrics."""


@dataclass(frozen=True)
class Outcome:
    """The results that a job reports, and the model that it ships.

    Parameters
    ----------
    results
        Held-out rows with the predictions of the model that ships.
    metrics
        Scores of these predictions.
    ships_previous
        Whether the previous model ships, because it is better than the new one.
    """

    results: HeldOutResults
    metrics: Metrics
    ships_previous: bool = False


class Start(ABC):
    """The start of a job.

    `job.train` calls the methods in the order in which they stand here. `FreshStart` starts from nothing,
    `ContinuedModel` from the artifact of the model channel.
    """

    @abstractmethod
    def backbones(self, context: JobContext, pretrained: Networks) -> Backbones:
        """Return the networks of the job, where `pretrained` holds those of the pretrained channel, if any."""

    @abstractmethod
    def problem_type(self, wanted: str) -> str:
        """Return the problem type by which labels are checked, where `wanted` is the hyperparameter."""

    @property
    @abstractmethod
    def known_classes(self) -> Sequence[str]:
        """The classes of the previous model. Empty without one, and for a regression."""

    @abstractmethod
    def check(self, schema: FeatureSchema) -> None:
        """Refuse training data that this start does not fit.

        Raises
        ------
        UserError
            The columns differ from those of the previous model.
        """

    @abstractmethod
    def number_categories(self, dataset: Dataset) -> frozenset[str]:
        """Return the categories whose values are numbers, see `Dataset.with_number_categories`."""

    @abstractmethod
    def target(self, labels: Sequence[str], hyperparameters: HyperParameters) -> Target:
        """Return the classes or numbers to learn from the labels of the training rows."""

    @abstractmethod
    def adopt(self, fitted: FittedBranches, data: TrainingData, min_completeness: float) -> FittedBranches:
        """Return the fitted branches, and next to them those of the previous model."""

    @abstractmethod
    def without_known_rows(self, votes: Votes, branches: Iterable[str], keys: np.ndarray) -> Votes:
        """Silence the branches of the previous model on rows that it was trained on.

        Parameters
        ----------
        votes
            Votes of held-out rows.
        branches
            Names of the branches.
        keys
            Keys of the rows, see `row_keys`.
        """

    @abstractmethod
    def choose(self, new: Outcome, target: Target, selector: Selector, hyperparameters: HyperParameters) -> Outcome:
        """Choose the model that ships: the new one, or the previous one where it is better and may ship."""

    @abstractmethod
    def ship(self, outcome: Outcome, model_dir: Path, new_model: NewModel) -> None:
        """Write the artifact of the model that ships into `model_dir`."""

    @abstractmethod
    def known_keys(self, keys: np.ndarray) -> np.ndarray:
        """Return the keys of all rows that the new model was trained on, uint32, sorted.

        Parameters
        ----------
        keys
            Keys of the training rows, see `RowGroups`.
        """

    @abstractmethod
    def known_categories(self, dataset: Dataset) -> KnownCategories:
        """Return the values of categories that the new model was trained on."""


class FreshStart(Start):
    """A job without a previous model."""

    def backbones(self, context: JobContext, pretrained: Networks) -> Backbones:
        """See `Start.backbones`."""
        return Backbones(
            context.hyperparameters,
            context.weights_dir,
            context.scratch / "networks",
            frozen=pretrained,
            start=pretrained,
        )

    def problem_type(self, wanted: str) -> str:
        """See `Start.problem_type`."""
        return wanted

    @property
    def known_classes(self) -> Sequence[str]:
        """See `Start.known_classes`."""
        return ()

    def check(self, schema: FeatureSchema) -> None:
        """See `Start.check`. All columns fit."""

    def number_categories(self, dataset: Dataset) -> frozenset[str]:
        """See `Start.number_categories`."""
        return dataset.find_number_categories()

    def target(self, labels: Sequence[str], hyperparameters: HyperParameters) -> Target:
        """See `Start.target`."""
        return Target.of(labels, hyperparameters.problem_type)

    def adopt(self, fitted: FittedBranches, data: TrainingData, min_completeness: float) -> FittedBranches:
        """See `Start.adopt`."""
        return fitted

    def without_known_rows(self, votes: Votes, branches: Iterable[str], keys: np.ndarray) -> Votes:
        """See `Start.without_known_rows`."""
        return votes

    def choose(self, new: Outcome, target: Target, selector: Selector, hyperparameters: HyperParameters) -> Outcome:
        """See `Start.choose`."""
        return new

    def ship(self, outcome: Outcome, model_dir: Path, new_model: NewModel) -> None:
        """See `Start.ship`."""
        new_model(model_dir, outcome.metrics)

    def known_keys(self, keys: np.ndarray) -> np.ndarray:
        """See `Start.known_keys`."""
        return keys

    def known_categories(self, dataset: Dataset) -> KnownCategories:
        """See `Start.known_categories`."""
        return KnownCategories.of(dataset)
