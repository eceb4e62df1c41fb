"""The config files that the platform writes before a training job starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from multimodal_algo.errors import PlatformError, UserError
from multimodal_algo.hyperparameters import HyperParameters
from multimodal_algo.sagemaker.paths import MLPaths

TRAIN_CHANNEL = "train"


def read_hyperparameters(paths: MLPaths) -> HyperParameters:
    """The job's hyperparameters; all defaults when the file is missing, which the guide met.

    Raises
    ------
    UserError
        See `HyperParameters.parse`.
    PlatformError
        The file is not a JSON object.
    """
    return HyperParameters.parse(_read_object(paths.hyperparameters))


def train_channel(paths: MLPaths) -> Path:
    """The directory of the train channel.

    Channels are those of ``inputdataconfig.json``: beside their directories lie ``<channel>-manifest`` files.

    Raises
    ------
    UserError
        The job has no train channel.
    """
    channels = _read_object(paths.input_data_config)
    directory = paths.channel(TRAIN_CHANNEL)
    if (channels and TRAIN_CHANNEL not in channels) or not directory.is_dir():
        named = ", ".join(sorted(channels)) or "none"
        raise UserError(
            f"The job has no '{TRAIN_CHANNEL}' channel (its channels: {named}). Give the training data that name."
        )
    return directory


def unused_channels(paths: MLPaths) -> list[str]:
    """Channels that the job has and training does not read, by name."""
    return sorted(set(_read_object(paths.input_data_config)) - {TRAIN_CHANNEL})


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise PlatformError(f"{path} is not JSON ({error}).") from None
    if not isinstance(content, dict):
        raise PlatformError(f"{path} is not a JSON object.")
    return content
