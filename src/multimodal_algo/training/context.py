"""The values that all steps of one training job share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.recipes import NetworkSettings, Recipe
from multimodal_algo.core.checkpointing import StopRequest
from multimodal_algo.execution.protocol import Executor
from multimodal_algo.training.checkpoints import Checkpoints

OUTPUT = "metrics and reports"
"""The noun for what is in the output directory, see `JobDirectories.volumes`."""


@dataclass(frozen=True)
class JobDirectories:
    """The directories of a job, as the platform or a caller gives them.

    Parameters
    ----------
    weights
        Directory of the pretrained weights that were installed with the image.
    checkpoints
        Directory for finished parts of the job. A later start of the same job finds them there.
    model
        Directory for the artifact.
    output
        Directory for ``metrics.json``, ``predictions.csv``, ``report.html`` and ``bad_rows.csv``.
    """

    weights: Path
    checkpoints: Path
    model: Path
    output: Path

    def volumes(self, scratch: Path) -> dict[str, Path]:
        """Return the directories that the job writes to.

        The keys say what is in them, for messages about a full disk.
        """
        return {
            "the artifact": self.model,
            "checkpoints": self.checkpoints,
            OUTPUT: self.output,
            "temporary files": scratch,
        }

    @classmethod
    def below(cls, directory: Path, *, weights: Path) -> JobDirectories:
        """Return the directories of a job that writes into the subfolders ``checkpoints``, ``model`` and ``output``."""
        return cls(weights, directory / "checkpoints", directory / "model", directory / "output")


@dataclass(frozen=True)
class StageTimes:
    """A clock that measures how many seconds each stage of a job takes."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the time of the block, and store it under the name of the stage."""
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 2)


@dataclass(frozen=True)
class JobContext:
    """The values that the steps of one job share.

    Parameters
    ----------
    hyperparameters
        The hyperparameters of the job.
    recipe
        The model settings of each branch, with the user's changes.
    network
        The settings of the fusion network, with the user's changes.
    directories
        The directories of the job.
    checkpoints
        The store for finished parts, which also has those of previous starts of the job.
    executor
        The hosts that do the job's work items.
    scratch
        Directory for temporary files, which the job removes at its end.
    stop
        The request to save the state and end soon. Without one, the job runs to its end.
    times
        The seconds of each stage so far.
    """

    hyperparameters: HyperParameters
    recipe: Recipe
    network: NetworkSettings
    directories: JobDirectories
    checkpoints: Checkpoints
    executor: Executor
    scratch: Path
    stop: StopRequest
    times: StageTimes

    @property
    def output_dir(self) -> Path:
        """Directory for metrics, predictions and the report."""
        return self.directories.output

    @property
    def weights_dir(self) -> Path:
        """Directory of the pretrained weights that were installed with the image."""
        return self.directories.weights
