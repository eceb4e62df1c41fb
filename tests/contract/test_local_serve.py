"""``local serve`` prints commands that work while it serves, and stops at an interrupt."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from multimodal_algo.cli import main


@pytest.fixture(scope="module")
def server(archive: Path, sample: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A running command, and the ``curl`` commands that it prints."""
    command = [sys.executable, "-u", "-m", "multimodal_algo", "local", "serve", "--model", str(archive), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--lines", str(sample / "test_noheader.csv")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line.strip())
        if line.startswith("Ctrl-C"):
            break
    yield process, [line for line in printed if line.startswith("curl ")]
    if process.poll() is None:
        process.kill()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_printed_commands_are_answered_until_an_interrupt(
    server: tuple[subprocess.Popen[str], list[str]], sample: Path
) -> None:
    process, commands = server
    row, lines = (
        subprocess.run(f"{command} --silent --fail", shell=True, capture_output=True, text=True, check=True).stdout
        for command in commands
    )
    assert set(json.loads(row)) == {"ID", "predicted_label", "probability"}
    assert len(lines.splitlines()) == len((sample / "test_noheader.csv").read_text().splitlines())
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


def test_a_port_that_another_program_has_is_named(archive: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        result = CliRunner().invoke(main, ["local", "serve", "--model", str(archive), "--port", port])
    assert result.exit_code == 1
    assert f"Another program has the port {port}. Choose another one, or 0 for any." in result.output
