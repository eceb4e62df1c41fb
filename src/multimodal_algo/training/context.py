"""The setting of one training job: what its steps share, in one value."""

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
        Directory with the weights of backbones that an image has baked in.
    checkpoints
        Directory for finished parts, where a job that starts again finds them.
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
        """Return the directories that the job writes to, by a noun for what is in them."""
        return {
            "the artifact": self.model,
            "checkpoints": self.checkpoints,
            OUTPUT: self.output,
            "temporary files": scratch,
        }

    @classmethod
    def below(cls, directory: Path, *, weights: Path) -> JobDirectories:
        """Return the directories ``checkpoints``, ``model`` and ``output`` below `directory`."""
        return cls(weights, directory / "checkpoints", directory / "model", directory / "output")


@dataclass(frozen=True)
class StageTimes:
    """The seconds that each stage of a job took, by the stage's name."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the block as the stage `name`."""
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
        The parts that this start or a previous one has finished.
    executor
        The hosts that do the job's work items.
    scratch
        Directory for temporary files, which the job removes at its end.
    stop
        The request that the process ends soon.
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
        """The directory for metrics, predictions and the report."""
        return self.directories.output

    @property
    def weights_dir(self) -> Path:
        """The directory of baked-in weights."""
        return self.directories.weights
