"""The channels of a job: one declaration for the documentation and the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from multimodal_algo.cli import main
from multimodal_algo.config.channels import CHANNELS, IMAGES, MODEL, TRAIN, Channel, channels_markdown, find_channel

PAGE = Path(__file__).parents[3] / "docs/training.md"


def test_the_table_in_the_documentation_is_made_from_the_declarations() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"<!-- channels: begin -->\n{channels_markdown()}<!-- channels: end -->" in text


@pytest.mark.parametrize("command", ["local train", "local tune", "aws train", "aws tune"])
def test_each_channel_is_an_option_with_its_description(command: str) -> None:
    output = CliRunner().invoke(main, [*command.split(), "--help"], terminal_width=200).output
    for channel in CHANNELS:
        assert f"--{channel.name} " in output
        assert " ".join(channel.description.split()) in " ".join(output.split())


@pytest.mark.parametrize(
    ("channel", "mode", "expected"),
    [(TRAIN, "Pipe", "Pipe"), (IMAGES, "FastFile", "FastFile"), (IMAGES, "Pipe", "File"), (MODEL, "FastFile", "File")],
)
def test_a_channel_arrives_as_files_where_it_cannot_have_the_mode_of_the_job(
    channel: Channel, mode: str, expected: str
) -> None:
    assert channel.mode_for(mode) == expected


def test_a_channel_is_found_by_its_name() -> None:
    assert find_channel("model") is MODEL
    assert find_channel("test") is None
