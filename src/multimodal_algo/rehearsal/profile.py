"""The validation profile of a request: the jobs that SageMaker runs to validate an algorithm, and their data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from multimodal_algo.config.channels import IMAGES, MODEL_CONTENT_TYPE, TRAIN
from multimodal_algo.core.storage import local_data
from multimodal_algo.local import ChannelData, InputMode
from multimodal_algo.rehearsal import data
from multimodal_algo.rehearsal.declared import Request

PARQUET = "application/x-parquet"
CSV = "text/csv"
_FEW_ROWS = 12


@dataclass(frozen=True)
class Profile:
    """The validation profile of a request: a training job, and usually a transform job, with their data.

    Parameters
    ----------
    request
        A ``CreateAlgorithm`` request that has a validation profile.
    archive
        Path of the ``model.tar.gz`` that the profile's training job makes.
    scratch
        Directory for downloaded and converted data.
    """

    request: Request
    archive: Path
    scratch: Path

    @property
    def training(self) -> Mapping[str, Any]:
        """The definition of the profile's training job."""
        return self._definitions["TrainingJobDefinition"]

    @property
    def transform(self) -> Mapping[str, Any]:
        """The definition of the profile's transform job. Empty if it has none."""
        return self._definitions.get("TransformJobDefinition", {})

    @property
    def hyperparameters(self) -> dict[str, str]:
        """The hyperparameters of the profile's training job."""
        return dict(self.training.get("HyperParameters", {}))

    @property
    def declared_channels(self) -> dict[str, Mapping[str, Any]]:
        """The input channels that the request declares, by name."""
        return {entry["Name"]: entry for entry in self.request["TrainingSpecification"]["TrainingChannels"]}

    @cached_property
    def train_data(self) -> Path:
        """Path of the training job's rows on this machine."""
        entries = self.training["InputDataConfig"]
        return self._fetch(next((entry for entry in entries if entry["ChannelName"] == TRAIN.name), entries[0]))

    @cached_property
    def lines_data(self) -> Path:
        """Path of the transform job's input on this machine."""
        return self._fetch(self.transform["TransformInput"])

    def training_channels(self) -> dict[str, ChannelData]:
        """Return the data of each input channel of the training job."""
        mode = self.training["TrainingInputMode"]
        return {
            entry["ChannelName"]: ChannelData(
                self._fetch(entry), entry.get("ContentType", CSV), InputMode(entry.get("InputMode", mode))
            )
            for entry in self.training["InputDataConfig"]
        }

    def channel(self, name: str, mode: InputMode, content_type: str) -> ChannelData:
        """Return data for a declared input channel: the rows of the training job, its images, or its artifact.

        If the job can have image files, the cells of the rows name these files. Otherwise the cells hold base64.

        Parameters
        ----------
        name
            Name of the channel.
        mode
            Input mode of the job.
        content_type
            Content type of the rows, if the channel declares it. Otherwise the rows are CSV.
        """
        types = self.declared_channels[name]["SupportedContentTypes"]
        if MODEL_CONTENT_TYPE in types:
            return ChannelData(self.archive, MODEL_CONTENT_TYPE, mode)
        images = self.scratch / f"{mode}" / "images"
        header, rows = data.rows_of(self.train_data)
        named = data.name_images(header, rows, images)
        if "image" in "".join(types):
            return ChannelData(images, IMAGES.content_type, mode)
        rows = named if self._has_image_files(mode) else rows
        folder = self.scratch / f"{mode}" / name
        if content_type == PARQUET and PARQUET in types:
            return ChannelData(data.write_parquet(header, rows, folder / "part-0.parquet").parent, PARQUET, mode)
        return ChannelData(data.write_csv(header, rows, folder / "part-0.csv").parent, CSV, mode)

    def inference_rows(self) -> tuple[list[str], list[list[str]]]:
        """Return the columns of a request to the server, and a few rows of the transform job or the training data."""
        header, rows = data.rows_of(self.train_data)
        columns = data.inference_columns(header)
        if self.transform:
            return columns, data.lines_of(self.lines_data)[:_FEW_ROWS]
        return columns, [[row[header.index(column)] for column in columns] for row in rows[:_FEW_ROWS]]

    @property
    def _definitions(self) -> Mapping[str, Any]:
        return self.request["ValidationSpecification"]["ValidationProfiles"][0]

    def _has_image_files(self, mode: InputMode) -> bool:
        images = self.declared_channels.get(IMAGES.name)
        return images is not None and mode in images["SupportedInputModes"]

    def _fetch(self, entry: Mapping[str, Any]) -> Path:
        name = entry.get("ChannelName", "lines")
        return local_data(entry["DataSource"]["S3DataSource"]["S3Uri"], self.scratch / "given" / name)
