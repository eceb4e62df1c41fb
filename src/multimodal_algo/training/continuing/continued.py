"""A job that goes on from a previous model."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

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
    """A job that goes on from the artifact of the model channel.

    Parameters
    ----------
    previous
        The artifact.
    """

    def __init__(self, previous: PreviousModel) -> None:
        self.previous = previous

    def backbones(self, context: JobContext, pretrained: Networks) -> Backbones:
        """See `Start.backbones`. The frozen networks are the previous model's own: its branches know no others."""
        previous, directory = self.previous, context.scratch / "networks"
        frozen = write_networks(previous.directory, previous.config, directory / "frozen", fine_tuned=False)
        first = pretrained
        if not first and any(is_fine_tuned(branch) for branch in context.recipe.models):
            first = write_networks(previous.directory, previous.config, directory / "start", fine_tuned=True)
        return Backbones(context.hyperparameters, context.weights_dir, directory, frozen=frozen, start=first)

    def problem_type(self, wanted: str) -> str:
        """See `Start.problem_type`. A regression stays one unless the hyperparameter says otherwise."""
        return "regression" if wanted == "auto" and self.previous.config.task.is_regression else wanted

    @property
    def known_classes(self) -> Sequence[str]:
        """See `Start.known_classes`."""
        return self.previous.config.classes

    def check(self, schema: FeatureSchema) -> None:
        """See `Start.check`."""
        self.previous.check(schema)

    def number_categories(self, dataset: Dataset) -> frozenset[str]:
        """See `Start.number_categories`. Those of the previous model stay, since its branches know their spelling."""
        return dataset.find_number_categories() | frozenset(self.previous.config.number_categories)

    def target(self, labels: Sequence[str], hyperparameters: HyperParameters) -> Target:
        """See `Start.target`. The previous classes stay where they include all labels."""
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
        """See `Start.adopt`.

        The previous model knows the labels of the rows that it was trained on, and of their duplicates. Its branches
        have no vote there.
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
        """See `Start.without_known_rows`."""
        adopted = [number for number, name in enumerate(branches) if name.startswith(PREFIX)]
        return votes.silence(np.flatnonzero(~self.previous.is_new(keys)), adopted)

    def choose(self, new: Outcome, target: Target, selector: Selector, hyperparameters: HyperParameters) -> Outcome:
        """See `Start.choose`. The previous model may ship where both know the same classes."""
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
        """Return the outcome where the previous model ships: its own results on the compared rows, if there are any."""
        _LOG.warning("model channel: the previous model is better, so it ships as it was (never_worse=true)")
        metrics, results = new.metrics, comparison.results
        if results is None:
            measured = self.previous.config.metrics
            same = {name: measured[name] for name in ("fused", "modalities", "without")}
            return Outcome(new.results, replace(metrics, **same), ships_previous=True)
        branches = {entry.name: entry.columns for entry in self.previous.config.branches}
        own: Metrics = measure(
            results, target, self.previous.fusion, branches,
            eval_metric=metrics.eval_metric, seconds=metrics.seconds, fit_s=metrics.fit_s,
        )  # fmt: skip
        return Outcome(results, own, ships_previous=True)

    def ship(self, outcome: Outcome, model_dir: Path, new_model: NewModel) -> None:
        """See `Start.ship`. A previous model ships with the metrics of this job."""
        if not outcome.ships_previous:
            new_model(model_dir, outcome.metrics)
            return
        previous = self.previous

        def write_files(directory: Path) -> None:
            for name in previous.config.files:
                target = directory / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(previous.directory / name, target)

        config = previous.config.model_copy(update={"metrics": outcome.metrics.as_dict()})
        ship(model_dir, config, write_files)

    def known_keys(self, keys: np.ndarray) -> np.ndarray:
        """See `Start.known_keys`."""
        return self.previous.known_keys(keys)

    def known_categories(self, dataset: Dataset) -> KnownCategories:
        """See `Start.known_categories`. The branches of the previous model know its values."""
        return self.previous.known_categories(dataset)
