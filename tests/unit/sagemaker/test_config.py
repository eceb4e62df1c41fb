"""The channels of a job, as its config file names them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from multimodal_algo.config.channels import CHANNELS, MODEL, PRETRAINED, Channel
from multimodal_algo.core.errors import UserError
from multimodal_algo.sagemaker.config import channel_path, unused_channels
from multimodal_algo.sagemaker.paths import MLPaths


def paths_of(base: Path, **modes: str) -> MLPaths:
    """A tree whose job has these channels by these input modes."""
    paths = MLPaths(base)
    paths.input_data_config.parent.mkdir(parents=True)
    paths.input_data_config.write_text(json.dumps({name: {"TrainingInputMode": mode} for name, mode in modes.items()}))
    for name, mode in modes.items():
        if mode == "File":
            paths.channel(name).mkdir(parents=True)
    return paths


def test_only_channels_that_training_does_not_read_are_unused(tmp_path: Path) -> None:
    read = dict.fromkeys((channel.name for channel in CHANNELS), "File")
    assert unused_channels(paths_of(tmp_path, **read, test="File", models="File")) == ["models", "test"]


@pytest.mark.parametrize(("channel", "missing"), [(MODEL, PRETRAINED), (PRETRAINED, MODEL)])
def test_a_channel_of_an_archive_is_its_directory(tmp_path: Path, channel: Channel, missing: Channel) -> None:
    paths = paths_of(tmp_path, train="File", **{channel.name: "File"})
    assert channel_path(paths, channel) == tmp_path / "input/data" / channel.name
    assert channel_path(paths, missing) is None


@pytest.mark.parametrize("channel", [MODEL, PRETRAINED])
def test_an_archive_is_not_read_from_a_pipe(tmp_path: Path, channel: Channel) -> None:
    with pytest.raises(UserError, match=f"The channel '{channel.name}' comes by Pipe, but holds an archive"):
        channel_path(paths_of(tmp_path, train="Pipe", **{channel.name: "Pipe"}), channel)
