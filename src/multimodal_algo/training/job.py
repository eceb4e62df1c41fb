"""The training job, step by step as the guide lists them."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal_algo.artifact import (
    FORMAT_VERSION,
    FUSION,
    IMAGE_BACKBONE,
    TEXT_BACKBONE,
    BackboneEntry,
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
from multimodal_algo.ingest.features import Encoder, Encoders
from multimodal_algo.ingest.findings import BadRowPolicy
from multimodal_algo.ingest.images import ImageFiles
from multimodal_algo.ingest.sources import find_sources
from multimodal_algo.memory import tell_autogluon
from multimodal_algo.recipes import EFFORT, RECIPES, Branch, Recipe
from multimodal_algo.schema import FeatureSchema, Modality
from multimodal_algo.task import Task
from multimodal_algo.training.checkpoints import Checkpoints
from multimodal_algo.training.ingestion import ingest
from multimodal_algo.training.report import Metrics, log_metrics, measure, write_metrics, write_predictions

if TYPE_CHECKING:
    from multimodal_algo.fusion.fusion import Fusion
    from multimodal_algo.modalities.backbones import ImageBackbone, TextBackbone
    from multimodal_algo.modalities.base import ModalityModel

_LOG = logging.getLogger(__name__)

# The fusion network is small; the modality models get the rest.
_FUSION_SHARE = 0.1


@dataclass(frozen=True)
class FittedModalities:
    """The modality models and their out-of-fold vectors, float32 (rows, modalities, n + 1)."""

    models: list[tuple[Branch, ModalityModel]]
    vectors: np.ndarray


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
    try:
        recipe = RECIPES[hyperparameters.quality]
        backbones = _Backbones(hyperparameters, weights_dir)
        dataset, validation = _ingest(channels, hyperparameters, backbones, scratch, output_dir)
        checkpoints = Checkpoints.open(checkpoints_dir, dataset, hyperparameters)
        started = time.monotonic()
        budget = Budget.starting_now(hyperparameters.budget_s)
        classes, labels = _map_labels(dataset)
        folds = _folds(labels, recipe, hyperparameters)
        fitted = _fit_modalities(dataset, labels, folds, recipe, hyperparameters, budget, scratch, checkpoints)
        held_out = _held_out(validation, classes, fitted, hyperparameters)
        fusion, probabilities = _fit_fusion(fitted, labels, folds, held_out, hyperparameters, budget)
        names = [model.name for _, model in fitted.models]
        judged = held_out or HeldOut(fitted.vectors, labels, dataset.names())
        metrics = measure(
            probabilities,
            judged.vectors,
            judged.labels,
            names,
            measured_on="validation channel" if held_out else "training rows, out of fold",
            fit_s=time.monotonic() - started,
        )
        config = _describe(dataset, classes, fitted, backbones.image, hyperparameters, metrics)
        _save(model_dir, config, fitted, fusion, backbones)
        write_metrics(metrics, output_dir)
        write_predictions(probabilities, judged.labels, judged.names, classes, output_dir)
        log_metrics(metrics)
        return metrics
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Backbones:
    """Finds the frozen networks when the first header shows what columns there are; all channels share them."""

    def __init__(self, hyperparameters: HyperParameters, weights_dir: Path) -> None:
        self._hyperparameters = hyperparameters
        self._weights_dir = weights_dir
        self.image: ImageBackbone | None = None
        self.text: TextBackbone | None = None

    def encoders_of(self, schema: FeatureSchema) -> Encoders:
        from multimodal_algo.modalities.backbones import ImageBackbone, TextBackbone

        encoders: dict[Modality, Encoder] = {}
        if schema.of(Modality.IMAGE):
            self.image = self.image or ImageBackbone.resolve(
                self._hyperparameters.image_backbone,
                weights_dir=self._weights_dir,
                allow_untrained=self._hyperparameters.quality == "toy",
                seed=self._hyperparameters.seed,
            )
            _LOG.info("image backbone: %s, weights: %s", self.image.info.architecture, self.image.info.source)
            encoders[Modality.IMAGE] = self.image.encode
        if schema.of(Modality.TEXT):
            self.text = self.text or TextBackbone.resolve(self._hyperparameters.text_backbone)
            encoders[Modality.TEXT] = self.text.encode
        return encoders

    def save(self, directory: Path) -> None:
        if self.image is not None:
            self.image.save(directory / IMAGE_BACKBONE)
        if self.text is not None:
            self.text.save(directory / TEXT_BACKBONE)


def _ingest(
    channels: Channels, hyperparameters: HyperParameters, backbones: _Backbones, scratch: Path, output_dir: Path
) -> tuple[Dataset, Dataset | None]:
    """The training rows, and those of the validation channel."""
    images = ImageFiles(channels.images) if channels.images is not None else None
    bad_rows = BadRowPolicy(hyperparameters.on_bad_row == "skip", hyperparameters.max_bad_row_fraction)

    def read(location: Path, schema: FeatureSchema | None) -> Dataset:
        return ingest(
            find_sources(location),
            scratch / "dataset" / location.name,
            backbones.encoders_of,
            images=images,
            bad_rows=bad_rows,
            output_dir=output_dir,
            schema=schema,
        )

    dataset = read(channels.train, None)
    if channels.validation is None:
        return dataset, None
    return dataset, read(channels.validation, dataset.schema)


def _map_labels(dataset: Dataset) -> tuple[tuple[str, ...], np.ndarray]:
    names, labels = np.unique(np.array(dataset.labels, dtype=object), return_inverse=True)
    _LOG.info("labels: %d classes", len(names))
    return tuple(names), labels.astype(np.int64)


def _folds(labels: np.ndarray, recipe: Recipe, hyperparameters: HyperParameters) -> np.ndarray:
    from multimodal_algo.fusion.folds import stratified_folds

    return stratified_folds(labels, recipe.folds, hyperparameters.seed)


def _fit_modalities(
    dataset: Dataset,
    labels: np.ndarray,
    folds: np.ndarray,
    recipe: Recipe,
    hyperparameters: HyperParameters,
    budget: Budget,
    scratch: Path,
    checkpoints: Checkpoints,
) -> FittedModalities:
    from multimodal_algo.modalities.registry import new_models

    models = new_models(dataset.schema, Task.of_classes(int(labels.max()) + 1), recipe.models)
    efforts = [EFFORT[branch] for branch, _ in models]
    reserve = _FUSION_SHARE * sum(efforts)
    vectors = []
    for number, (branch, model) in enumerate(models):
        out_of_fold = checkpoints.restore(model)
        if out_of_fold is None:
            out_of_fold = model.fit(
                dataset.features,
                labels,
                folds,
                budget.share(efforts[number], sum(efforts[number:]) + reserve),
                models=recipe.models[branch],
                min_completeness=hyperparameters.min_completeness,
                sample_weight=None,
                seed=hyperparameters.seed,
                scratch=scratch / model.name,
            )
            checkpoints.keep(model, out_of_fold)
        vectors.append(out_of_fold)
    return FittedModalities(models, np.stack(vectors, axis=1))


def _held_out(
    validation: Dataset | None, classes: tuple[str, ...], fitted: FittedModalities, hyperparameters: HyperParameters
) -> HeldOut | None:
    """The vectors of the validation channel's rows; rows of classes that training did not see are left out."""
    if validation is None:
        return None
    place = {name: number for number, name in enumerate(classes)}
    labels = np.array([place.get(label, -1) for label in validation.labels], dtype=np.int64)
    known = np.flatnonzero(labels >= 0)
    if len(known) < len(labels):
        _LOG.warning(
            "validation: %d of %d rows have a label that no training row has; they are left out",
            len(labels) - len(known), len(labels),
        )  # fmt: skip
    if not len(known):
        raise UserError("No row of the validation channel has a label that a training row has. Check the channels.")
    features = validation.features.take(known)
    vectors = [model.predict(features, min_completeness=hyperparameters.min_completeness) for _, model in fitted.models]
    names = validation.names()
    return HeldOut(np.stack(vectors, axis=1), labels[known], [names[row] for row in known])


def _fit_fusion(
    fitted: FittedModalities,
    labels: np.ndarray,
    folds: np.ndarray,
    held_out: HeldOut | None,
    hyperparameters: HyperParameters,
    budget: Budget,
) -> tuple[Fusion, np.ndarray]:
    from multimodal_algo.fusion.fusion import Fusion

    started = time.monotonic()
    fusion, probabilities, comparison = Fusion.fit(
        fitted.vectors,
        labels,
        folds,
        columns=[model.columns for _, model in fitted.models],
        names=[model.name for _, model in fitted.models],
        held_out=held_out,
        max_epochs=hyperparameters.n_epochs,
        seed=hyperparameters.seed,
        budget=budget,
    )
    _LOG.info(
        "fusion: %s (log-loss %s), temperature %.2f, %.1f s",
        comparison.chosen, ", ".join(f"{name} {loss:.3f}" for name, loss in comparison.losses.items()),
        fusion.temperature, time.monotonic() - started,
    )  # fmt: skip
    return fusion, probabilities


def _describe(
    dataset: Dataset,
    classes: tuple[str, ...],
    fitted: FittedModalities,
    image_backbone: ImageBackbone | None,
    hyperparameters: HyperParameters,
    metrics: Metrics,
) -> ModelConfig:
    return ModelConfig(
        format_version=FORMAT_VERSION,
        columns=dataset.schema.columns,
        classes=classes,
        modalities=tuple(
            ModalityEntry(name=model.name, branch=branch.value, columns=model.columns)
            for branch, model in fitted.models
        ),
        image_backbone=None
        if image_backbone is None
        else BackboneEntry(
            architecture=image_backbone.info.architecture,
            source=image_backbone.info.source,
            pretrained=image_backbone.info.pretrained,
        ),
        min_completeness=hyperparameters.min_completeness,
        recipe=hyperparameters.quality,
        hyperparameters=hyperparameters.model_dump(),
        versions=current_versions(),
        metrics=metrics.as_dict(),
    )


def _save(
    model_dir: Path, config: ModelConfig, fitted: FittedModalities, fusion: Fusion, backbones: _Backbones
) -> None:
    started = time.monotonic()

    def write_files(directory: Path) -> None:
        for _, model in fitted.models:
            model.save(directory / model.name)
        backbones.save(directory)
        fusion.save(directory / FUSION)

    complete = write_artifact(model_dir, config, write_files)
    size = sum((model_dir / name).stat().st_size for name in complete.files)
    _LOG.info("artifact: %d files, %.1f MB, %.1f s", len(complete.files), size / 1e6, time.monotonic() - started)
