"""The paths of the platform, each named once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MLPaths:
    """The tree below a base directory: ``/opt/ml``, or the directory that ``SAGEMAKER_BASE_DIR`` names.

    Parameters
    ----------
    base
        The base directory.
    """

    base: Path

    @property
    def hyperparameters(self) -> Path:
        """The file of hyperparameters, a flat JSON object of strings. It may be missing."""
        return self.base / "input/config/hyperparameters.json"

    @property
    def input_data_config(self) -> Path:
        """The file that lists the channels of the job with their input modes."""
        return self.base / "input/config/inputdataconfig.json"

    @property
    def resource_config(self) -> Path:
        """The file that lists the hosts of the job."""
        return self.base / "input/config/resourceconfig.json"

    def channel(self, name: str) -> Path:
        """Return the directory of a File or FastFile channel."""
        return self.base / "input/data" / name

    @property
    def model(self) -> Path:
        """The directory that becomes ``model.tar.gz``. Serving may only read it."""
        return self.base / "model"

    @property
    def checkpoints(self) -> Path:
        """The directory that survives an interruption, if the job names a checkpoint location in S3."""
        return self.base / "checkpoints"

    @property
    def output_data(self) -> Path:
        """The directory that becomes ``output.tar.gz``."""
        return self.base / "output/data"

    @property
    def failure(self) -> Path:
        """The file with the reason of a failure. The platform shows its first 1,024 characters."""
        return self.base / "output/failure"
