"""Every path of the platform, named once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MLPaths:
    """The tree below the base directory (``/opt/ml``, moved by ``SAGEMAKER_BASE_DIR``)."""

    base: Path

    @property
    def hyperparameters(self) -> Path:
        """A flat JSON object of strings; may be missing."""
        return self.base / "input/config/hyperparameters.json"

    @property
    def input_data_config(self) -> Path:
        """The channels of the job and how each arrives."""
        return self.base / "input/config/inputdataconfig.json"

    @property
    def resource_config(self) -> Path:
        """The hosts of the job."""
        return self.base / "input/config/resourceconfig.json"

    def channel(self, name: str) -> Path:
        """The directory of a File or FastFile channel."""
        return self.base / "input/data" / name

    @property
    def model(self) -> Path:
        """What becomes ``model.tar.gz``; read-only when serving."""
        return self.base / "model"

    @property
    def checkpoints(self) -> Path:
        """What a job that starts again finds; copied to S3 as it changes where the job asks for that."""
        return self.base / "checkpoints"

    @property
    def output_data(self) -> Path:
        """What becomes ``output.tar.gz``."""
        return self.base / "output/data"

    @property
    def failure(self) -> Path:
        """The reason of a failed training job; the platform shows its first 1,024 characters."""
        return self.base / "output/failure"
