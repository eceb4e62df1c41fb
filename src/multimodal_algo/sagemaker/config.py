"""Reads the config files that SageMaker writes before a training job starts."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multimodal_algo.config.channels import CHANNELS, TRAIN, Channel
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.errors import PlatformError, UserError
from multimodal_algo.execution.hosts import Hosts, InstanceGroup
from multimodal_algo.sagemaker.paths import MLPaths

_FIFO_S = 60


def read_hyperparameters(paths: MLPaths) -> HyperParameters:
    """Read the hyperparameters of the job. If the file is missing, all hyperparameters have their defaults.

    Not every platform writes the file, as the project's guide found.

    Raises
    ------
    UserError
        See `HyperParameters.parse`.
    PlatformError
        The file is not a JSON object.
    """
    return HyperParameters.parse(_read_object(paths.hyperparameters))


def channel_path(paths: MLPaths, channel: Channel) -> Path | None:
    """Return the path of a channel's data: a directory (File, FastFile), or the FIFO of the first epoch (Pipe).

    ``inputdataconfig.json`` lists the channels. The directories do not show them reliably, because SageMaker puts
    ``<channel>-manifest`` files next to them.

    Returns
    -------
    pathlib.Path or None
        None if the job does not have the channel.

    Raises
    ------
    UserError
        The channel holds an archive, and the job sends it by Pipe.
    PlatformError
        The FIFO of a Pipe channel does not appear.
    """
    listed = _read_object(paths.input_data_config)
    if listed and channel.name not in listed:
        return None
    entry = listed.get(channel.name)
    if not isinstance(entry, dict) or entry.get("TrainingInputMode") != "Pipe":
        directory = paths.channel(channel.name)
        return directory if directory.is_dir() else None
    if channel.holds_archive:
        raise UserError(f"The channel '{channel.name}' comes by Pipe, but holds an archive: set its InputMode to File.")
    return _wait_for_fifo(paths.channel(f"{channel.name}_0"))


def train_path(paths: MLPaths) -> Path:
    """Return the path of the train channel's data, see `channel_path`.

    Raises
    ------
    UserError
        The job does not have a train channel.
    """
    path = channel_path(paths, TRAIN)
    if path is None:
        names = ", ".join(sorted(_read_object(paths.input_data_config))) or "none"
        raise UserError(
            f"The job has no '{TRAIN.name}' channel (its channels: {names}). Give the channel of the data this name."
        )
    return path


def instance_type(paths: MLPaths) -> str:
    """Return the type of this instance, for example ``ml.g5.xlarge``. Empty if SageMaker does not name it."""
    try:
        return str(_read_object(paths.resource_config).get("current_instance_type") or "")
    except PlatformError:  # `read_hosts` reports it
        return ""


def read_hosts(paths: MLPaths) -> Hosts:
    """Read the names of the job's hosts (instances), in all instance groups.

    Without the config file, there is one host.

    Raises
    ------
    PlatformError
        The name of this host is not in the list of hosts.
    """
    config = _read_object(paths.resource_config)
    groups = tuple(_instance_group(entry) for entry in config.get("instance_groups") or ())
    names = {str(host) for host in config.get("hosts") or ()}.union(*(group.hosts for group in groups))
    current = str(config.get("current_host") or "algo-1")
    names = names or {current}
    if current not in names:
        raise PlatformError(f"{paths.resource_config}: current_host {current} is not one of the hosts {sorted(names)}.")
    return Hosts(current, tuple(sorted(names)), config.get("network_interface_name"), groups)


def is_sharded(paths: MLPaths, channel: Channel) -> bool:
    """Return whether each host gets a part of the channel's files (``ShardedByS3Key``) instead of all files."""
    entry = _read_object(paths.input_data_config).get(channel.name)
    return isinstance(entry, dict) and entry.get("S3DistributionType") == "ShardedByS3Key"


def unused_channels(paths: MLPaths) -> list[str]:
    """Return the names of the job's channels that training does not read, for a warning."""
    return sorted(set(_read_object(paths.input_data_config)) - {channel.name for channel in CHANNELS})


def _instance_group(entry: Mapping[str, Any]) -> InstanceGroup:
    return InstanceGroup(
        str(entry.get("instance_group_name", "")),
        str(entry.get("instance_type", "")),
        tuple(str(host) for host in entry.get("hosts") or ()),
    )


def _wait_for_fifo(path: Path) -> Path:
    # The platform may make the FIFO a moment after it starts the program.
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
