"""The artifact of a new model, as the job writes it into the model directory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal_algo.artifact import (
    CATEGORIES,
    CONFORMAL,
    FORMAT_VERSION,
    FUSION,
    ROW_KEYS,
    SKETCHES,
    BranchEntry,
    ModelConfig,
    current_versions,
    write_artifact,
)
from multimodal_algo.branches.registry import needs_pictures
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.labels import Target
from multimodal_algo.fusion.conformal.stored import Calibrated, save_calibrated
from multimodal_algo.ingest.categories import KnownCategories
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.features import Encoders, build_features, image_input
from multimodal_algo.monitoring.sketches import Sketches
from multimodal_algo.predictors.base import TargetScale
from multimodal_algo.training.backbones import Backbones
from multimodal_algo.training.fitting import FittedBranches

if TYPE_CHECKING:
    from multimodal_algo.fusion.fusion import Fusion
    from multimodal_algo.training.start import Outcome

_LOG = logging.getLogger(__name__)

# Seconds of writing an artifact: graphs of networks are exported and compared, and files are written and hashed.
_FIRST_S, _BYTES_PER_S = 1.0, 40e6


@dataclass(frozen=True)
class NewArtifact:
    """Everything that the artifact of a new model holds, ready to be written.

    Parameters
    ----------
    dataset, target
        The training rows and their labels.
    fitted, fusion, backbones
        The fitted branches, the fusion and the networks.
    hyperparameters
        The hyperparameters of the job, for the description.
    known_keys
        Keys (hashes) of all rows that the model was trained on, uint32, sorted.
    known_categories
        All category values that the model was trained on.
    calibrate
        Function that returns the prediction sets or intervals.
    sketches
        Sketches of the training rows, with which new rows are later compared.
    private
        Paths of this machine that are removed from the artifact's files.
    """

    dataset: Dataset
    target: Target
    fitted: FittedBranches
    fusion: Fusion
    backbones: Backbones
    hyperparameters: HyperParameters
    known_keys: np.ndarray
    known_categories: KnownCategories
    calibrate: Callable[[], Calibrated]
    sketches: Sketches
    private: tuple[Path, ...] = ()

    def write(self, model_dir: Path, outcome: Outcome) -> None:
        """Write the artifact into SageMaker's model directory, with the metrics and the decision rule of `outcome`."""
        size = self.backbones.stored_bytes
        _LOG.info(
            "artifact: %d branches and %.0f MB of networks take about %.0f s, which the budget does not count",
            len(self.fitted.models), size / 1e6, _FIRST_S + size / _BYTES_PER_S,
        )  # fmt: skip
        ship(model_dir, self._config(outcome), self._write_files, self.private)

    def _write_files(self, directory: Path) -> None:
        for _, model in self.fitted.models:
            model.save(directory / model.name)
        self.backbones.save(directory)
        self.backbones.save_graphs(directory, self._probe_predictions)
        self.fusion.save(directory / FUSION)
        np.save(directory / ROW_KEYS, self.known_keys)
        self.known_categories.save(directory / CATEGORIES)
        save_calibrated(self.calibrate(), directory / CONFORMAL)
        self.sketches.save(directory / SKETCHES)

    def _probe_predictions(self, encoders: Encoders) -> np.ndarray:
        """Return the model's predictions for the first training rows, (rows, n), with vectors from these encoders.

        Predicted numbers are standardised: their unit is the standard deviation of the labels.
        """
        dataset = self.dataset
        rows = len(next(iter(dataset.probe.values())))
        side = image_input(encoders).side if needs_pictures(branch for branch, _ in self.fitted.models) else 0
        features = build_features(dataset.schema, dataset.probe, rows, encoders, side)
        predictions = self.fusion.predict(self.fitted.predict(features, self.hyperparameters.min_completeness))
        return TargetScale.of(self.target.values, self.target.task).standardised(predictions)

    def _config(self, outcome: Outcome) -> ModelConfig:
        return ModelConfig(
            format_version=FORMAT_VERSION,
            columns=self.dataset.schema.columns,
            problem_type=self.target.task.problem_type,
            classes=self.target.classes,
            branches=tuple(
                BranchEntry(name=model.name, branch=branch.value, columns=model.columns)
                for branch, model in self.fitted.models
            ),
            image_backbone=self.backbones.image_entry(),
            min_completeness=self.hyperparameters.min_completeness,
            recipe=self.hyperparameters.quality,
            hyperparameters=self.hyperparameters.model_dump(),
            versions=current_versions(),
            metrics=outcome.metrics.as_dict(),
            largest_row=self.dataset.largest_row,
            number_categories=tuple(sorted(self.dataset.number_categories)),
            decision=outcome.decision_entry,
        )


def ship(
    model_dir: Path, config: ModelConfig, write_files: Callable[[Path], None], private: Iterable[Path] = ()
) -> None:
    """Write an artifact, see `write_artifact`. Log its size, and how many seconds this took."""
    started = time.monotonic()
    files = write_artifact(model_dir, config, write_files, private).files
    size = sum((model_dir / name).stat().st_size for name in files)
    _LOG.info("artifact: %d files, %.1f MB, written in %.1f s", len(files), size / 1e6, time.monotonic() - started)
