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
    BackboneEntry,
    ModalityEntry,
    ModelConfig,
    current_versions,
    write_artifact,
)
from multimodal_algo.budget import Budget
from multimodal_algo.hyperparameters import HyperParameters
from multimodal_algo.ingest.dataset import Dataset, DatasetWriter
from multimodal_algo.ingest.features import build_features
from multimodal_algo.ingest.scan import Chunk, scan
from multimodal_algo.ingest.sources import Source, find_sources, read_header
from multimodal_algo.recipes import RECIPES, Recipe
from multimodal_algo.schema import FeatureSchema, Modality
from multimodal_algo.training.checkpoints import Checkpoints
from multimodal_algo.training.report import Metrics, log_metrics, measure, write_metrics

if TYPE_CHECKING:
    from multimodal_algo.fusion.network import Fusion
    from multimodal_algo.modalities.backbones import ImageBackbone
    from multimodal_algo.modalities.base import ModalityModel

_LOG = logging.getLogger(__name__)

# The fusion network is small; the modality models get the rest.
_FUSION_SHARE = 0.1


@dataclass(frozen=True)
class FittedModalities:
    """The modality models and their out-of-fold vectors, float32 (rows, modalities, n + 1)."""

    models: list[tuple[Modality, ModalityModel]]
    vectors: np.ndarray


def train(
    data: Path,
    hyperparameters: HyperParameters,
    *,
    weights_dir: Path,
    checkpoints_dir: Path,
    model_dir: Path,
    output_dir: Path,
) -> Metrics:
    """Train on the CSV files at `data` and write the artifact.

    Parameters
    ----------
    data
        A CSV file or a directory of them (the train channel).
    hyperparameters
        What the job set.
    weights_dir
        Where backbone weights are baked in.
    checkpoints_dir
        Where finished parts are kept, and found by a job that starts again.
    model_dir
        Where the artifact goes.
    output_dir
        Where ``metrics.json`` goes.

    Raises
    ------
    UserError
        Anything that the user can fix, in the data or in the hyperparameters.
    """
    scratch = Path(tempfile.mkdtemp(prefix="multimodal-train-"))
    try:
        recipe = RECIPES[hyperparameters.quality]
        sources = find_sources(data)
        image_backbone = _image_backbone(sources, hyperparameters, weights_dir)
        dataset = _ingest(sources, image_backbone, scratch)
        checkpoints = Checkpoints.open(checkpoints_dir, dataset, hyperparameters)
        started = time.monotonic()
        budget = Budget.starting_now(hyperparameters.budget_s)
        classes, labels = _map_labels(dataset)
        folds = _folds(labels, recipe, hyperparameters)
        fitted = _fit_modalities(dataset, labels, folds, recipe, hyperparameters, budget, scratch, checkpoints)
        fusion, probabilities = _fit_fusion(fitted, labels, folds, hyperparameters, budget)
        names = [model.name for _, model in fitted.models]
        metrics = measure(probabilities, fitted.vectors, labels, names, fit_s=time.monotonic() - started)
        config = _describe(dataset, classes, fitted, image_backbone, hyperparameters, metrics)
        _save(model_dir, config, fitted, fusion, image_backbone)
        write_metrics(metrics, output_dir)
        log_metrics(metrics)
        return metrics
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _image_backbone(sources: list[Source], hyperparameters: HyperParameters, weights_dir: Path) -> ImageBackbone | None:
    if not FeatureSchema.from_header(read_header(sources[0]), sources[0].name).of(Modality.IMAGE):
        return None
    from multimodal_algo.modalities.backbones import ImageBackbone

    backbone = ImageBackbone.resolve(
        hyperparameters.image_backbone,
        weights_dir=weights_dir,
        allow_untrained=hyperparameters.quality == "toy",
        seed=hyperparameters.seed,
    )
    _LOG.info("image backbone: %s, weights: %s", backbone.info.architecture, backbone.info.source)
    return backbone


def _ingest(sources: list[Source], backbone: ImageBackbone | None, scratch: Path) -> Dataset:
    started = time.monotonic()
    encode = backbone.encode if backbone is not None else None
    writer: DatasetWriter | None = None

    def append(schema: FeatureSchema, chunk: Chunk) -> None:
        nonlocal writer
        writer = writer or DatasetWriter(schema, scratch)
        features = build_features(schema, chunk.cells, len(chunk), encode)
        writer.append(features, chunk.labels, chunk.ids if schema.has_id else None)

    try:
        inspection = scan(sources, sink=append)
    finally:
        if writer is not None:
            writer.close()
    for warning in inspection.warnings:
        _LOG.warning("%s", warning)
    inspection.raise_for_errors()
    assert writer is not None
    dataset = writer.dataset()
    _LOG.info("ingest: %d rows from %d files in %.1f s", len(dataset), len(sources), time.monotonic() - started)
    return dataset


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
    from multimodal_algo.modalities.backbones import TextBackbone
    from multimodal_algo.modalities.registry import new_models

    has_text = bool(dataset.schema.of(Modality.TEXT))
    text_backbone = TextBackbone.resolve(hyperparameters.text_backbone) if has_text else None
    models = new_models(dataset.schema, int(labels.max()) + 1, text_backbone)
    efforts = [recipe.effort[modality] for modality, _ in models]
    reserve = _FUSION_SHARE * sum(efforts)
    vectors = []
    for number, (modality, model) in enumerate(models):
        out_of_fold = checkpoints.restore(model)
        if out_of_fold is None:
            out_of_fold = model.fit(
                dataset.features,
                labels,
                folds,
                budget.share(efforts[number], sum(efforts[number:]) + reserve),
                models=recipe.models[modality],
                min_completeness=hyperparameters.min_completeness,
                seed=hyperparameters.seed,
                scratch=scratch / model.name,
            )
            checkpoints.keep(model, out_of_fold)
        vectors.append(out_of_fold)
    return FittedModalities(models, np.stack(vectors, axis=1))


def _fit_fusion(
    fitted: FittedModalities, labels: np.ndarray, folds: np.ndarray, hyperparameters: HyperParameters, budget: Budget
) -> tuple[Fusion, np.ndarray]:
    from multimodal_algo.fusion.network import Fusion

    started = time.monotonic()
    fusion, probabilities = Fusion.fit(
        fitted.vectors, labels, folds, max_epochs=hyperparameters.n_epochs, seed=hyperparameters.seed, budget=budget
    )
    _LOG.info(
        "fusion: %d modalities, temperature %.2f, %.1f s",
        len(fitted.models), fusion.temperature, time.monotonic() - started,
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
            ModalityEntry(name=model.name, modality=modality.value, columns=model.columns)
            for modality, model in fitted.models
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
    model_dir: Path, config: ModelConfig, fitted: FittedModalities, fusion: Fusion, image_backbone: ImageBackbone | None
) -> None:
    started = time.monotonic()

    def write_files(directory: Path) -> None:
        for _, model in fitted.models:
            model.save(directory / model.name)
        if image_backbone is not None:
            image_backbone.save(directory / IMAGE_BACKBONE)
        fusion.save(directory / FUSION)

    complete = write_artifact(model_dir, config, write_files)
    size = sum((model_dir / name).stat().st_size for name in complete.files)
    _LOG.info("artifact: %d files, %.1f MB, %.1f s", len(complete.files), size / 1e6, time.monotonic() - started)
