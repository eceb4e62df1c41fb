"""The start of a job: from nothing, or from a previous model. The steps of `job.train` are the same for both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multimodal_algo.config.decision_entry import DecisionEntry
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.labels import Target
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.fusion.decisions import ChosenRule
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


@dataclass(frozen=True)
class Outcome:
    """The result of a job: the chosen model (new or previous) and its scores.

    Parameters
    ----------
    results
        Held-out rows with the predictions of the chosen model.
    metrics
        Scores of the chosen model.
    ships_previous
        Whether the previous model is the chosen model, because it is better than the new model.
    is_measured
        Whether `results` belong to the chosen model. If not, only its metrics are known.
    decision
        The rule that decides the answers of the chosen model. None for a regression, or before the rule is chosen.
    """

    results: HeldOutResults
    metrics: Metrics
    ships_previous: bool = False
    is_measured: bool = True
    decision: ChosenRule | None = None

    @property
    def decision_entry(self) -> DecisionEntry | None:
        """The entry ``decision`` of the artifact's description. None without a decision rule."""
        chosen = self.decision
        if chosen is None:
            return None
        rule, classes = chosen.rule, chosen.rows.classes
        return DecisionEntry(
            positive_class=chosen.positive_class,
            thresholds={classes[label]: threshold for label, threshold in rule.thresholds.items()},
            abstain_below=rule.abstain_below,
            review_label=chosen.settings.review_label,
            curves=chosen.curves(),
        )


NewModel = Callable[[Path, Outcome], None]
"""Writes the new model's artifact into the model directory, with the metrics and the decision rule of an outcome."""


class Start(ABC):
    """How a job starts: from nothing (`FreshStart`), or from the model of a previous job (`ContinuedModel`).

    `job.train` calls the methods in the order in which they are declared here.
    """

    @abstractmethod
    def backbones(self, context: JobContext, pretrained: Networks) -> Backbones:
        """Return the networks that turn texts and images into vectors.

        `pretrained` are those of the pretrained channel, if any.
        """

    @abstractmethod
    def problem_type(self, wanted: str) -> str:
        """Return the problem type to check the labels for. `wanted` is the hyperparameter ``problem_type``."""

    @property
    @abstractmethod
    def known_classes(self) -> Sequence[str]:
        """The classes of the previous model. Empty for a regression, or if there is no previous model."""

    @abstractmethod
    def check(self, schema: FeatureSchema) -> None:
        """Raise an error if the training data does not suit the previous model.

        Raises
        ------
        UserError
            The columns differ from those of the previous model.
        """

    @abstractmethod
    def number_categories(self, dataset: Dataset) -> frozenset[str]:
        """Return the category columns whose values are numbers, so that ``1`` and ``1.0`` are the same value.

        See `Dataset.with_number_categories`.
        """

    @abstractmethod
    def target(self, labels: Sequence[str], hyperparameters: HyperParameters) -> Target:
        """Return the classes or numbers to learn, from the labels of the training rows."""

    @abstractmethod
    def adopt(self, fitted: FittedBranches, data: TrainingData, min_completeness: float) -> FittedBranches:
        """Return the fitted branches (partial models), together with those of the previous model if there is one."""

    @abstractmethod
    def without_known_rows(self, votes: Votes, branches: Iterable[str], keys: np.ndarray) -> Votes:
        """Return the votes without those of the previous model on rows that it was trained on.

        There it would look too good.

        Parameters
        ----------
        votes
            Votes on held-out rows.
        branches
            Names of the branches.
        keys
            Keys (hashes) of the rows and their cells, see `row_keys`.
        """

    @abstractmethod
    def choose(self, new: Outcome, target: Target, selector: Selector, hyperparameters: HyperParameters) -> Outcome:
        """Return the new model, or the previous one if it is better and ``never_worse`` allows to keep it."""

    @abstractmethod
    def ship(self, outcome: Outcome, model_dir: Path, new_model: NewModel) -> None:
        """Write the artifact of the chosen model into `model_dir`."""

    @abstractmethod
    def known_keys(self, keys: np.ndarray) -> np.ndarray:
        """Return the keys (hashes) of all rows that the new model was trained on, uint32, sorted.

        They include the rows of previous models, so that later jobs know them too.

        Parameters
        ----------
        keys
            Keys of the training rows, see `RowGroups`.
        """

    @abstractmethod
    def known_categories(self, dataset: Dataset) -> KnownCategories:
        """Return all category values that the new model was trained on, including those of previous models."""


class FreshStart(Start):
    """The start of a job without a previous model. See `Start` for the methods."""

    def backbones(self, context: JobContext, pretrained: Networks) -> Backbones:
        """Return the networks that the hyperparameters name, or those of the pretrained channel.

        See `Start.backbones`.
        """
        return Backbones(
            context.hyperparameters,
            context.weights_dir,
            context.scratch / "networks",
            frozen=pretrained,
            start=pretrained,
        )

    def problem_type(self, wanted: str) -> str:
        """Return the hyperparameter as it is. See `Start.problem_type`."""
        return wanted

    @property
    def known_classes(self) -> Sequence[str]:
        """No classes, because there is no previous model."""
        return ()

    def check(self, schema: FeatureSchema) -> None:
        """Accept all columns, because there is no previous model. See `Start.check`."""

    def number_categories(self, dataset: Dataset) -> frozenset[str]:
        """Return the category columns whose values in the training rows are numbers. See `Start.number_categories`."""
        return dataset.find_number_categories()

    def target(self, labels: Sequence[str], hyperparameters: HyperParameters) -> Target:
        """Return the classes or numbers to learn from the labels. See `Start.target`."""
        return Target.of(labels, hyperparameters.problem_type)

    def adopt(self, fitted: FittedBranches, data: TrainingData, min_completeness: float) -> FittedBranches:
        """Return the fitted branches as they are. See `Start.adopt`."""
        return fitted

    def without_known_rows(self, votes: Votes, branches: Iterable[str], keys: np.ndarray) -> Votes:
        """Return the votes as they are. See `Start.without_known_rows`."""
        return votes

    def choose(self, new: Outcome, target: Target, selector: Selector, hyperparameters: HyperParameters) -> Outcome:
        """Return the new model. See `Start.choose`."""
        return new

    def ship(self, outcome: Outcome, model_dir: Path, new_model: NewModel) -> None:
        """Write the artifact of the new model. See `Start.ship`."""
        new_model(model_dir, outcome)

    def known_keys(self, keys: np.ndarray) -> np.ndarray:
        """Return the keys (hashes) of the training rows as they are. See `Start.known_keys`."""
        return keys

    def known_categories(self, dataset: Dataset) -> KnownCategories:
        """Return the category values in the training rows. See `Start.known_categories`."""
        return KnownCategories.of(dataset)
