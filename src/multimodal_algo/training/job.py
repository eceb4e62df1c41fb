"""The training job, step by step as the guide lists them."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal_algo.artifact import (
    FORMAT_VERSION,
    FUSION,
    ModalityEntry,
    ModelConfig,
    current_versions,
    write_artifact,
)
from multimodal_algo.budget import Budget
from multimodal_algo.errors import UserError
from multimodal_algo.fusion.folds import HeldOut
from multimodal_algo.hyperparameters import HyperParameters
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.features import Encoders, Features, build_features
from multimodal_algo.ingest.findings import BadRowPolicy, modality_groups
from multimodal_algo.ingest.images import SIDE, ImageFiles
from multimodal_algo.ingest.sources import find_sources
from multimodal_algo.labels import Target
from multimodal_algo.memory import tell_autogluon
from multimodal_algo.recipes import EFFORT, RECIPES, Branch, NetworkSettings, Recipe, needs_pictures
from multimodal_algo.schema import FeatureSchema, Modality, modality_of
from multimodal_algo.training.backbones import Backbones
from multimodal_algo.training.checkpoints import Checkpoints
from multimodal_algo.training.customisation import Customisation
from multimodal_algo.training.ingestion import ingest
from multimodal_algo.training.page import write_page
from multimodal_algo.training.report import Judged, Metrics, log_metrics, measure, write_metrics, write_predictions
from multimodal_algo.training.weights import class_weights

if TYPE_CHECKING:
    from multimodal_algo.fusion.fusion import Fusion
    from multimodal_algo.fusion.judge import Judge
    from multimodal_algo.modalities.base import ModalityModel

_LOG = logging.getLogger(__name__)

# The fusion network is small; the modality models get the rest.
_FUSION_SHARE = 0.1


@dataclass(frozen=True)
class FittedModalities:
    """The modality models and their out-of-fold vectors, float32 (rows, branches, n + 1)."""

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
class Channels:
    """Where a job's data is.

    Parameters
    ----------
    train
        A CSV or Parquet file, a directory of them, or a FIFO.
    validation
        The same; None where metrics are measured out of fold on the training rows.
    images
        Directory of files that image cells may name.
    """

    train: Path
    validation: Path | None = None
    images: Path | None = None


def train(
    channels: Channels,
    hyperparameters: HyperParameters,
    *,
    weights_dir: Path,
    checkpoints_dir: Path,
    model_dir: Path,
    output_dir: Path,
) -> Metrics:
    """Train on the data of `channels` and write the artifact.

    Parameters
    ----------
    channels
        Where the data is.
    hyperparameters
        What the job set.
    weights_dir
        Where backbone weights are baked in.
    checkpoints_dir
        Where finished parts are kept, and found by a job that starts again.
    model_dir
        Where the artifact goes.
    output_dir
        Where ``metrics.json``, ``predictions.csv`` and ``bad_rows.csv`` go.

    Raises
    ------
    UserError
        Anything that the user can fix, in the data or in the hyperparameters.
    """
    scratch = Path(tempfile.mkdtemp(prefix="multimodal-train-"))
    tell_autogluon()
    watch = _Watch()
    try:
        custom = Customisation.of(hyperparameters)
        recipe = _recipe(hyperparameters, custom)
        backbones = Backbones(hyperparameters, weights_dir, scratch / "networks")
        with watch("ingest"):
            dataset, validation = _ingest(channels, hyperparameters, recipe, backbones, scratch, output_dir)
        target = _target(dataset, hyperparameters)
        judge = _judge(target, hyperparameters)
        checkpoints = Checkpoints.open(checkpoints_dir, dataset, hyperparameters)
        started = time.monotonic()
        budget = Budget.starting_now(hyperparameters.budget_s)
        folds = _folds(dataset, target, recipe, hyperparameters)
        recipe = backbones.tuned(recipe)
        fitted = _fit_modalities(dataset, target, folds, recipe, hyperparameters, budget, scratch, checkpoints, watch)
        held_out = _held_out(validation, target, fitted, hyperparameters)
        with watch("fusion"):
            fusion, answers = _fit_fusion(
                fitted, target, folds, judge, held_out, hyperparameters, custom.network, budget
            )
        fit_s = time.monotonic() - started
        judged = _judged(dataset, validation, target, fitted, held_out, answers)
        metrics = measure(
            judged,
            target,
            fusion,
            fitted.branches,
            _groups(dataset.schema),
            eval_metric=judge.metric,
            seconds=watch.seconds,
            fit_s=fit_s,
        )
        _save(
            model_dir,
            _describe(dataset, target, fitted, backbones, hyperparameters, metrics),
            dataset,
            fitted,
            fusion,
            backbones,
        )
        write_metrics(metrics, output_dir)
        write_predictions(judged, target, output_dir)
        write_page(judged, target, metrics, hyperparameters.quality, output_dir)
        log_metrics(metrics)
        return metrics
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True)
class _Watch:
    """Seconds of each stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[stage] = round(time.monotonic() - started, 2)


def _recipe(hyperparameters: HyperParameters, custom: Customisation) -> Recipe:
    import torch

    has_gpu = torch.cuda.is_available()
    recipe = RECIPES[hyperparameters.quality]
    changed = custom.apply(recipe, has_gpu=has_gpu)
    if recipe.models.keys() - changed.models.keys():
        _LOG.info(
            "quality %s: without a GPU no network is fine-tuned, unless text_ or image_hyperparameters ask for it",
            hyperparameters.quality,
        )
    return changed


def _ingest(
    channels: Channels,
    hyperparameters: HyperParameters,
    recipe: Recipe,
    backbones: Backbones,
    scratch: Path,
    output_dir: Path,
) -> tuple[Dataset, Dataset | None]:
    """The training rows, and those of the validation channel."""
    images = ImageFiles(channels.images) if channels.images is not None else None
    bad_rows = BadRowPolicy(hyperparameters.on_bad_row == "skip", hyperparameters.max_bad_row_fraction)

    def read(location: Path, schema: FeatureSchema | None, problem_type: str) -> Dataset:
        return ingest(
            find_sources(location),
            scratch / "dataset" / location.name,
            backbones.encoders_of,
            images=images,
            bad_rows=bad_rows,
            output_dir=output_dir,
            schema=schema,
            problem_type=problem_type,
            keep_images=needs_pictures(recipe.models),
        )

    dataset = read(channels.train, None, hyperparameters.problem_type)
    if channels.validation is None:
        return dataset, None
    kind = Target.of(dataset.labels, hyperparameters.problem_type).task.problem_type
    return dataset, read(channels.validation, dataset.schema, kind)


def _target(dataset: Dataset, hyperparameters: HyperParameters) -> Target:
    target = Target.of(dataset.labels, hyperparameters.problem_type)
    if not target.task.is_regression:
        _LOG.info("labels: %d classes", len(target.classes))
        return target
    _LOG.info("labels: numbers from %.7g to %.7g, a regression", target.values.min(), target.values.max())
    if hyperparameters.problem_type == "auto" and np.all(target.values == target.values.round()):
        _LOG.warning("labels: whole numbers, taken for amounts; set problem_type=multiclass if they name classes")
    return target


def _judge(target: Target, hyperparameters: HyperParameters) -> Judge:
    from multimodal_algo.fusion.judge import Judge
    from multimodal_algo.metrics import default_metric, metrics_of

    metric: str = hyperparameters.eval_metric
    if metric == "auto":
        metric = default_metric(target.task)
    elif metric not in metrics_of(target.task):
        raise UserError(
            f"eval_metric is {metric}, but the labels ask for {target.task.problem_type}: choose one of "
            f"{', '.join(metrics_of(target.task))}, or set problem_type."
        )
    return Judge(target.task, metric, class_weights(hyperparameters.weights_of_classes(), target))


def _groups(schema: FeatureSchema) -> dict[str, tuple[str, ...]]:
    """The columns of each modality (image column, for images)."""
    groups = modality_groups(schema)
    return {
        columns[0] if modality_of(columns[0]) is Modality.IMAGE else str(modality_of(columns[0])): columns
        for columns in groups
    }


def _folds(dataset: Dataset, target: Target, recipe: Recipe, hyperparameters: HyperParameters) -> np.ndarray:
    from multimodal_algo.fusion.folds import stratified_folds
    from multimodal_algo.training.copies import find_copies

    groups = find_copies(dataset.features, dataset.schema)
    copies = len(groups) - len(np.unique(groups))
    if copies:
        _LOG.info("folds: %d rows share a text or an image with others, and a fold", copies)
    return stratified_folds(target.values, recipe.folds, hyperparameters.seed, groups)


def _fit_modalities(
    dataset: Dataset,
    target: Target,
    folds: np.ndarray,
    recipe: Recipe,
    hyperparameters: HyperParameters,
    budget: Budget,
    scratch: Path,
    checkpoints: Checkpoints,
    watch: _Watch,
) -> FittedModalities:
    from multimodal_algo.modalities.registry import new_models

    models = new_models(dataset.schema, target.task, recipe.models)
    efforts = [EFFORT[branch] for branch, _ in models]
    reserve = _FUSION_SHARE * sum(efforts)
    vectors = []
    for number, (branch, model) in enumerate(models):
        out_of_fold = checkpoints.restore(model)
        if out_of_fold is None:
            with watch(model.name):
                out_of_fold = model.fit(
                    dataset.features,
                    target.values,
                    folds,
                    budget.share(efforts[number], sum(efforts[number:]) + reserve),
                    models=recipe.models[branch],
                    min_completeness=hyperparameters.min_completeness,
                    seed=hyperparameters.seed,
                    scratch=scratch / model.name,
                )
            checkpoints.keep(model, out_of_fold)
        vectors.append(out_of_fold)
    return FittedModalities(models, np.stack(vectors, axis=1))


def _known(validation: Dataset, target: Target) -> np.ndarray:
    """Positions of the rows of the validation channel that have a label of training."""
    values = target.values_of(validation.labels)
    return np.arange(len(values)) if target.task.is_regression else np.flatnonzero(values >= 0)


def _held_out(
    validation: Dataset | None, target: Target, fitted: FittedModalities, hyperparameters: HyperParameters
) -> HeldOut | None:
    """The vectors of the validation channel's rows; rows of classes that training did not see are left out."""
    if validation is None:
        return None
    known = _known(validation, target)
    if len(known) < len(validation):
        _LOG.warning(
            "validation: %d of %d rows have a label that no training row has; they are left out",
            len(validation) - len(known), len(validation),
        )  # fmt: skip
    if not len(known):
        raise UserError("No row of the validation channel has a label that a training row has. Check the channels.")
    features = validation.features.take(known)
    vectors = fitted.predict(features, hyperparameters.min_completeness)
    return HeldOut(vectors, target.values_of(validation.labels)[known])


def _fit_fusion(
    fitted: FittedModalities,
    target: Target,
    folds: np.ndarray,
    judge: Judge,
    held_out: HeldOut | None,
    hyperparameters: HyperParameters,
    network: NetworkSettings,
    budget: Budget,
) -> tuple[Fusion, np.ndarray]:
    from multimodal_algo.fusion.fusion import Fusion

    fusion, answers, comparison = Fusion.fit(
        fitted.vectors,
        target.values,
        folds,
        judge=judge,
        columns=list(fitted.branches.values()),
        names=list(fitted.branches),
        held_out=held_out,
        max_epochs=hyperparameters.n_epochs,
        settings=network,
        seed=hyperparameters.seed,
        budget=budget,
    )
    _LOG.info(
        "fusion: %s (%s%s)%s",
        comparison.chosen,
        judge.told + ": ", ", ".join(f"{name} {loss:.3f}" for name, loss in comparison.losses.items()),
        "" if fusion.finish is None else f", temperature {fusion.finish.temperature:.2f}",
    )  # fmt: skip
    return fusion, answers


def _judged(
    dataset: Dataset,
    validation: Dataset | None,
    target: Target,
    fitted: FittedModalities,
    held_out: HeldOut | None,
    answers: np.ndarray,
) -> Judged:
    if validation is None or held_out is None:
        rows = np.arange(len(dataset))
        return Judged("training rows, out of fold", answers, fitted.vectors, target.values, dataset, rows)
    rows = _known(validation, target)
    return Judged("validation channel", answers, held_out.vectors, held_out.targets, validation, rows)


def _describe(
    dataset: Dataset,
    target: Target,
    fitted: FittedModalities,
    backbones: Backbones,
    hyperparameters: HyperParameters,
    metrics: Metrics,
) -> ModelConfig:
    return ModelConfig(
        format_version=FORMAT_VERSION,
        columns=dataset.schema.columns,
        problem_type=target.task.problem_type,
        classes=target.classes,
        modalities=tuple(
            ModalityEntry(name=model.name, branch=branch.value, columns=model.columns)
            for branch, model in fitted.models
        ),
        image_backbone=backbones.image_entry(),
        min_completeness=hyperparameters.min_completeness,
        recipe=hyperparameters.quality,
        hyperparameters=hyperparameters.model_dump(),
        versions=current_versions(),
        metrics=metrics.as_dict(),
        largest_row=dataset.largest_row,
    )


def _save(
    model_dir: Path,
    config: ModelConfig,
    dataset: Dataset,
    fitted: FittedModalities,
    fusion: Fusion,
    backbones: Backbones,
) -> None:
    started = time.monotonic()

    def answers(encoders: Encoders) -> np.ndarray:
        rows = len(next(iter(dataset.probe.values())))
        side = SIDE if needs_pictures([branch for branch, _ in fitted.models]) else 0
        features = build_features(dataset.schema, dataset.probe, rows, encoders, side)
        return fusion.predict(fitted.predict(features, config.min_completeness))

    def write_files(directory: Path) -> None:
        for _, model in fitted.models:
            model.save(directory / model.name)
        backbones.save(directory)
        backbones.save_graphs(directory, answers)
        fusion.save(directory / FUSION)

    complete = write_artifact(model_dir, config, write_files)
    size = sum((model_dir / name).stat().st_size for name in complete.files)
    _LOG.info("artifact: %d files, %.1f MB, %.1f s", len(complete.files), size / 1e6, time.monotonic() - started)
