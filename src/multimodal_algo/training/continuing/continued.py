"""The start of a job that continues from a previous model."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_algo.branches.base import TrainingRows
from multimodal_algo.branches.registry import is_fine_tuned
from multimodal_algo.branches.translated import TranslatedModel
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.labels import Target
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.fusion.selection import Selector
from multimodal_algo.fusion.votes import Votes
from multimodal_algo.ingest.categories import KnownCategories
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.report.metrics import Metrics, measure
from multimodal_algo.training.backbones import Backbones
from multimodal_algo.training.context import JobContext
from multimodal_algo.training.continuing.comparison import Comparison, compare
from multimodal_algo.training.continuing.export import Networks, write_networks
from multimodal_algo.training.continuing.previous import PREFIX, PreviousModel
from multimodal_algo.training.data import TrainingData
from multimodal_algo.training.fitting import FittedBranches
from multimodal_algo.training.output import ship
from multimodal_algo.training.start import NewModel, Outcome, Start

_LOG = logging.getLogger(__name__)

# With fewer rows that are new to the previous model, its votes cannot be weighed against the new ones.
_LEAST_NEW_ROWS = 50
_SHOWN_CLASSES = 5


class ContinuedModel(Start):
    """The start of a job that continues from the model of a previous job. See `Start` for the methods.

    Parameters
    ----------
    previous
        The artifact in the model channel.
    """

    def __init__(self, previous: PreviousModel) -> None:
        self.previous = previous

    def backbones(self, context: JobContext, pretrained: Networks) -> Backbones:
        """Return the networks of the previous model, whose partial models only understand vectors of these networks.

        See `Start.backbones`.
        """
        previous, directory = self.previous, context.scratch / "networks"
        frozen = write_networks(previous.directory, previous.config, directory / "frozen", fine_tuned=False)
        first = pretrained
        if not first and any(is_fine_tuned(branch) for branch in context.recipe.models):
            first = write_networks(previous.directory, previous.config, directory / "start", fine_tuned=True)
        return Backbones(context.hyperparameters, context.weights_dir, directory, frozen=frozen, start=first)

    def problem_type(self, wanted: str) -> str:
        """Return the problem type for checking labels.

        If the previous model is a regression, ``auto`` means a regression.
        """
        return "regression" if wanted == "auto" and self.previous.config.task.is_regression else wanted

    @property
    def known_classes(self) -> Sequence[str]:
        """The classes of the previous model. Empty for a regression."""
        return self.previous.config.classes

    def check(self, schema: FeatureSchema) -> None:
        """Raise an error if the training data has other columns than the previous model. See `Start.check`."""
        self.previous.check(schema)

    def number_categories(self, dataset: Dataset) -> frozenset[str]:
        """Return the category columns whose values are numbers, in this job's data or in the previous job's.

        The previous job's columns are included because its models know the spelling of their values. See
        `Start.number_categories`.
        """
        return dataset.find_number_categories() | frozenset(self.previous.config.number_categories)

    def target(self, labels: Sequence[str], hyperparameters: HyperParameters) -> Target:
        """Return the classes or numbers to learn. The previous classes stay if they include all labels.

        See `Start.target`.
        """
        previous, wanted = self.previous.config, hyperparameters.problem_type
        if wanted == "regression" or previous.task.is_regression:
            return Target.of(labels, "regression" if wanted == "auto" else wanted)
        target = Target.of(labels, wanted, previous.classes)
        if not target.task.is_regression:
            self._warn_of_forgetting(target)
        return target

    def _warn_of_forgetting(self, target: Target) -> None:
        classes = self.previous.config.classes
        if target.classes != classes:
            new = len(set(target.classes) - set(classes))
            _LOG.info("model channel: a new task, %d of whose %d classes are new", new, len(target.classes))
        missing = sorted(set(classes) - set(target.present))
        if missing:
            names = ", ".join(missing[:_SHOWN_CLASSES]) + (", …" if len(missing) > _SHOWN_CLASSES else "")
            is_same_task = target.classes == classes
            remedy = "Add rows of them, or their predictions get worse" if is_same_task else "It cannot predict them"
            _LOG.warning(
                "model channel: no row has these %d of the previous model's classes: %s. The new model forgets them. "
                "%s.",
                len(missing), names, remedy,
            )  # fmt: skip

    def adopt(self, fitted: FittedBranches, data: TrainingData, min_completeness: float) -> FittedBranches:
        """Return the fitted branches (partial models) together with the branches of the previous model.

        See `Start.adopt`.

        The previous model has seen the labels of the rows that it was trained on, and of their duplicates. So its
        branches have no vote on these rows.
        """
        dataset, target = data.dataset, data.target
        is_new = self.previous.is_new(dataset.keys)
        if not is_new.all():
            _LOG.info(
                "model channel: the previous model knows %d of %d rows, or duplicates of them. It is measured on the "
                "others",
                len(is_new) - int(is_new.sum()), len(is_new),
            )  # fmt: skip
        models = self.previous.adopted(target.task, target.classes)
        if is_new.sum() < _LEAST_NEW_ROWS or not models:
            return fitted
        rows = np.flatnonzero(is_new)
        features = dataset.features.take(rows)
        vectors = []
        for _, model in models:
            if isinstance(model, TranslatedModel):
                vectors.append(
                    model.fit_translation(
                        TrainingRows(features, target.values[rows], data.folds[rows]), min_completeness=min_completeness
                    )
                )
            else:
                vectors.append(model.predict(features, min_completeness=min_completeness))
        adopted = Votes.stack(vectors).spread_to(rows, len(dataset))
        return FittedBranches([*fitted.models, *models], fitted.votes.concat(adopted))

    def without_known_rows(self, votes: Votes, branches: Iterable[str], keys: np.ndarray) -> Votes:
        """Return the votes without those of the previous model's branches on rows that it was trained on.

        See `Start.without_known_rows`.
        """
        adopted = [number for number, name in enumerate(branches) if name.startswith(PREFIX)]
        return votes.silence(np.flatnonzero(~self.previous.is_new(keys)), adopted)

    def choose(self, new: Outcome, target: Target, selector: Selector, hyperparameters: HyperParameters) -> Outcome:
        """Return the better one of the new and the previous model, if both know the same classes.

        See `Start.choose`.
        """
        config = self.previous.config
        if (config.task, config.classes) != (target.task, target.classes):
            return new
        comparison = compare(self.previous, new.results, new.metrics, target, selector)
        if comparison is None:
            return new
        ships_previous = comparison.previous_is_better and hyperparameters.never_worse == "true"
        outcome = self._previous_outcome(new, comparison, target) if ships_previous else new
        summary = comparison.summary(ships_previous=ships_previous)
        return replace(outcome, metrics=replace(outcome.metrics, previous=summary))

    def _previous_outcome(self, new: Outcome, comparison: Comparison, target: Target) -> Outcome:
        """Return the outcome if the previous model is kept: its results on the compared rows, if there are any."""
        _LOG.warning("model channel: the previous model is better, so it ships as it was (never_worse=true)")
        metrics, results = new.metrics, comparison.results
        if results is None:
            measured = self.previous.config.metrics
            same = {name: measured[name] for name in ("fused", "modalities", "without")}
            return Outcome(new.results, replace(metrics, **same), ships_previous=True, is_measured=False)
        branches = {entry.name: entry.columns for entry in self.previous.config.branches}
        own: Metrics = measure(
            results, target, self.previous.fusion, branches,
            eval_metric=metrics.eval_metric, seconds=metrics.seconds, fit_s=metrics.fit_s,
        )  # fmt: skip
        return Outcome(results, own, ships_previous=True)

    def ship(self, outcome: Outcome, model_dir: Path, new_model: NewModel) -> None:
        """Write the artifact of the chosen model. The previous model gets the metrics of this job. See `Start.ship`."""
        if not outcome.ships_previous:
            new_model(model_dir, outcome)
            return
        previous = self.previous

        def write_files(directory: Path) -> None:
            for name in previous.config.files:
                target = directory / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(previous.directory / name, target)

        changes: dict[str, Any] = {"metrics": outcome.metrics.as_dict()}
        if outcome.decision is not None:
            changes["decision"] = outcome.decision_entry
        config = previous.config.model_copy(update=changes)
        ship(model_dir, config, write_files)

    def known_keys(self, keys: np.ndarray) -> np.ndarray:
        """Return the keys (hashes) of all rows that this job and previous ones trained on. See `Start.known_keys`."""
        return self.previous.known_keys(keys)

    def known_categories(self, dataset: Dataset) -> KnownCategories:
        """Return the category values that this job and the previous ones trained on. See `Start.known_categories`."""
        return self.previous.known_categories(dataset)
