"""The paths that SageMaker's contract defines, each named once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MLPaths:
    """The files and directories of SageMaker's contract, below ``/opt/ml`` or another base directory.

    Parameters
    ----------
    base
        The base directory.
    """

    base: Path

    @property
    def hyperparameters(self) -> Path:
        """The file with the job's hyperparameters, a flat JSON object of strings. It may be missing."""
        return self.base / "input/config/hyperparameters.json"

    @property
    def input_data_config(self) -> Path:
        """The file that lists the job's channels and their input modes."""
        return self.base / "input/config/inputdataconfig.json"

    @property
    def resource_config(self) -> Path:
        """The file that lists the job's hosts."""
        return self.base / "input/config/resourceconfig.json"

    def channel(self, name: str) -> Path:
        """Return the directory with the files of a channel, in the input modes File and FastFile."""
        return self.base / "input/data" / name

    @property
    def model(self) -> Path:
        """The directory of the model. SageMaker packs it as ``model.tar.gz``. Serving may only read it."""
        return self.base / "model"

    @property
    def checkpoints(self) -> Path:
        """The directory for checkpoints. It survives an interruption if the job names a checkpoint location in S3."""
        return self.base / "checkpoints"

    @property
    def output_data(self) -> Path:
        """The directory for reports and other results. SageMaker packs it as ``output.tar.gz``."""
        return self.base / "output/data"

    @property
    def failure(self) -> Path:
        """The file for the reason of a failure. SageMaker shows its first 1,024 characters."""
        return self.base / "output/failure"
