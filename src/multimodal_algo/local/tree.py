"""The ``/opt/ml`` tree of a training job, with the config files in the platform's exact shapes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HOST = "algo-1"
_INSTANCE = "local"
_GROUP = "homogeneousCluster"


def build_training_tree(base: Path, channels: Mapping[str, Path], hyperparameters: Mapping[str, str]) -> None:
    """Make the tree below `base`.

    Parameters
    ----------
    base
        An empty directory.
    channels
        Per channel the file or folder of its data (File mode).
    hyperparameters
        As the platform passes them: strings.
    """
    for directory in ("input/config", "input/data", "model", "output/data", "checkpoints"):
        (base / directory).mkdir(parents=True)
    _write(base, "hyperparameters", {name: str(value) for name, value in hyperparameters.items()})
    _write(base, "inputdataconfig", {name: _channel_config() for name in channels})
    _write(base, "resourceconfig", _resource_config())
    for name, source in channels.items():
        _place(source, base / "input/data" / name)
        # The platform leaves such a file beside each channel's directory.
        (base / "input/data" / f"{name}-manifest").write_text("[]\n", encoding="utf-8")


def _channel_config() -> dict[str, str]:
    return {
        "ContentType": "text/csv",
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }


def _resource_config() -> dict[str, Any]:
    return {
        "current_host": _HOST,
        "current_instance_type": _INSTANCE,
        "current_group_name": _GROUP,
        "hosts": [_HOST],
        "network_interface_name": "eth0",
        "instance_groups": [{"instance_group_name": _GROUP, "instance_type": _INSTANCE, "hosts": [_HOST]}],
    }


def _write(base: Path, name: str, content: Mapping[str, Any]) -> None:
    (base / f"input/config/{name}.json").write_text(json.dumps(content), encoding="utf-8")


def _place(source: Path, channel: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, channel, copy_function=_link_or_copy)
    else:
        channel.mkdir()
        _link_or_copy(str(source), str(channel / source.name))


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(Path(source).resolve(), target)
    except OSError:  # another file system
        shutil.copy2(source, target)
