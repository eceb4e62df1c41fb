"""What a job leaves in the model directory."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.artifact import (
    FORMAT_VERSION,
    FUSION,
    ROW_KEYS,
    BranchEntry,
    ModelConfig,
    current_versions,
    write_artifact,
)
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.recipes import needs_pictures
from multimodal_algo.core.labels import Target
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.features import Encoders, build_features
from multimodal_algo.ingest.images import SIDE
from multimodal_algo.report.metrics import Metrics
from multimodal_algo.training.backbones import Backbones
from multimodal_algo.training.continuing.previous import PreviousModel
from multimodal_algo.training.duplicates import telling_keys
from multimodal_algo.training.fitting import FittedBranches

if TYPE_CHECKING:
    from multimodal_algo.fusion.fusion import Fusion

_LOG = logging.getLogger(__name__)


def save_model(
    model_dir: Path,
    dataset: Dataset,
    target: Target,
    fitted: FittedBranches,
    fusion: Fusion,
    backbones: Backbones,
    hyperparameters: HyperParameters,
    metrics: Metrics,
    previous: PreviousModel | None,
) -> None:
    """Write the artifact of a new model.

    Parameters
    ----------
    model_dir
        The platform's model directory.
    dataset, target
        What was learnt from.
    fitted, fusion, backbones
        What was learnt.
    hyperparameters, metrics
        For the description.
    earlier
        The model that the job went on from.
    """

    def answers(encoders: Encoders) -> np.ndarray:
        rows = len(next(iter(dataset.probe.values())))
        side = SIDE if needs_pictures([branch for branch, _ in fitted.models]) else 0
        features = build_features(dataset.schema, dataset.probe, rows, encoders, side)
        return fusion.predict(fitted.predict(features, hyperparameters.min_completeness))

    def write_files(directory: Path) -> None:
        for _, model in fitted.models:
            model.save(directory / model.name)
        backbones.save(directory)
        backbones.save_graphs(directory, answers)
        fusion.save(directory / FUSION)
        keys = telling_keys(dataset.keys) if previous is None else previous.all_keys(dataset.keys)
        np.save(directory / ROW_KEYS, keys)

    started = time.monotonic()
    config = ModelConfig(
        format_version=FORMAT_VERSION,
        columns=dataset.schema.columns,
        problem_type=target.task.problem_type,
        classes=target.classes,
        branches=tuple(
            BranchEntry(name=model.name, branch=branch.value, columns=model.columns) for branch, model in fitted.models
        ),
        image_backbone=backbones.image_entry(),
        min_completeness=hyperparameters.min_completeness,
        recipe=hyperparameters.quality,
        hyperparameters=hyperparameters.model_dump(),
        versions=current_versions(),
        metrics=metrics.as_dict(),
        largest_row=dataset.largest_row,
    )
    _tell(model_dir, write_artifact(model_dir, config, write_files), started)


def ship_previous(model_dir: Path, previous: PreviousModel, metrics: Mapping[str, Any]) -> None:
    """Write the earlier model, with `metrics` of this job, as its artifact."""
    started = time.monotonic()

    def write_files(directory: Path) -> None:
        for name in previous.config.files:
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(previous.directory / name, target)

    config = previous.config.model_copy(update={"metrics": dict(metrics)})
    _tell(model_dir, write_artifact(model_dir, config, write_files), started)


def _tell(model_dir: Path, complete: ModelConfig, started: float) -> None:
    size = sum((model_dir / name).stat().st_size for name in complete.files)
    _LOG.info("artifact: %d files, %.1f MB, %.1f s", len(complete.files), size / 1e6, time.monotonic() - started)
