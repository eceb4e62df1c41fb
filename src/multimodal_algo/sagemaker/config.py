"""The config files that the platform writes before a training job starts."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.errors import PlatformError, UserError
from multimodal_algo.execution.hosts import Hosts, InstanceGroup
from multimodal_algo.sagemaker.paths import MLPaths

TRAIN_CHANNEL = "train"
VALIDATION_CHANNEL = "validation"
IMAGES_CHANNEL = "images"
MODEL_CHANNEL = "model"
"""An earlier job's ``model.tar.gz``, which the platform does not extract, or what is in one."""
PRETRAINED_CHANNEL = "pretrained"
"""What ``export-backbones`` wrote, as a folder or a ``.tar.gz`` of it; or a ``model.tar.gz``."""
_CHANNELS = {TRAIN_CHANNEL, VALIDATION_CHANNEL, IMAGES_CHANNEL, MODEL_CHANNEL, PRETRAINED_CHANNEL}
_ARCHIVES = {MODEL_CHANNEL, PRETRAINED_CHANNEL}
_FIFO_S = 60


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


def channel_path(paths: MLPaths, name: str) -> Path | None:
    """Where a channel's data is: a directory (File, FastFile), or the FIFO of the first epoch (Pipe).

    Channels are those of ``inputdataconfig.json``: beside their directories lie ``<channel>-manifest`` files.

    Returns
    -------
    pathlib.Path or None
        None where the job has no such channel.

    Raises
    ------
    UserError
        A channel of archives comes by Pipe.
    PlatformError
        The FIFO of a Pipe channel does not appear.
    """
    channels = _read_object(paths.input_data_config)
    if channels and name not in channels:
        return None
    if isinstance(channel := channels.get(name), dict) and channel.get("TrainingInputMode") == "Pipe":
        if name in _ARCHIVES:
            raise UserError(f"The channel '{name}' comes by Pipe, but holds an archive: set its InputMode to File.")
        return _fifo(paths.channel(f"{name}_0"))
    directory = paths.channel(name)
    return directory if directory.is_dir() else None


def train_channel(paths: MLPaths) -> Path:
    """The data of the train channel; see `channel_path`.

    Raises
    ------
    UserError
        The job has no train channel.
    """
    found = channel_path(paths, TRAIN_CHANNEL)
    if found is None:
        named = ", ".join(sorted(_read_object(paths.input_data_config))) or "none"
        raise UserError(
            f"The job has no '{TRAIN_CHANNEL}' channel (its channels: {named}). Give the training data that name."
        )
    return found


def read_hosts(paths: MLPaths) -> Hosts:
    """The hosts of the job, of all instance groups; one where the platform tells of none.

    Raises
    ------
    PlatformError
        This host is not among them.
    """
    told = _read_object(paths.resource_config)
    groups = tuple(
        InstanceGroup(
            str(group.get("instance_group_name", "")),
            str(group.get("instance_type", "")),
            tuple(str(host) for host in group.get("hosts") or ()),
        )
        for group in told.get("instance_groups") or ()
    )
    names = {str(host) for host in told.get("hosts") or ()}.union(*(group.hosts for group in groups))
    current = str(told.get("current_host") or "algo-1")
    if not names:
        names = {current}
    if current not in names:
        raise PlatformError(f"{paths.resource_config}: current_host {current} is none of the hosts {sorted(names)}.")
    return Hosts(current, tuple(sorted(names)), told.get("network_interface_name"), groups)


def is_sharded(paths: MLPaths, name: str) -> bool:
    """Whether each host has only a share of a channel's files (``S3DistributionType`` is ``ShardedByS3Key``)."""
    channel = _read_object(paths.input_data_config).get(name)
    return isinstance(channel, dict) and channel.get("S3DistributionType") == "ShardedByS3Key"


def unused_channels(paths: MLPaths) -> list[str]:
    """Channels that the job has and training does not read, by name."""
    return sorted(set(_read_object(paths.input_data_config)) - _CHANNELS)


def _fifo(path: Path) -> Path:
    # The platform may make it a moment after the program was started.
    deadline = time.monotonic() + _FIFO_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise PlatformError(f"{path}: the FIFO of a Pipe channel did not appear within {_FIFO_S} s.")
        time.sleep(0.1)
    return path


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
