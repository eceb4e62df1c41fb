"""The commands of ``docs/tutorial.md`` run as they stand there, one after the other, in a new directory."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/tutorial.md"
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
# A faster job than that of the page.
_FASTER = {"quality=very_light": "quality=toy", "n_mins=1": "n_secs=10"}
_ADDRESS = "http://127.0.0.1:8080"


def commands(text: str) -> Iterator[str]:
    """Yield the commands of the console blocks of a page."""
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").split("\n"):
            if line.startswith("$ "):
                yield line.removeprefix("$ ")


@dataclass
class Shell:
    """Runs the commands of the page in a directory."""

    directory: Path
    outputs: dict[str, str] = field(default_factory=dict)
    address: str = _ADDRESS

    def __post_init__(self) -> None:
        program = self.directory / "bin/multimodal-algo"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -u -m multimodal_algo "$@"\n')
        program.chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}

    def run(self, command: str) -> str:
        """Run a command to its end, and return its output."""
        for slow, fast in _FASTER.items():
            command = command.replace(slow, fast)
        command = command.replace(_ADDRESS, self.address)
        done = subprocess.run(
            command, shell=True, cwd=self.directory, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    @contextmanager
    def serving(self, command: str) -> Iterator[None]:
        """Run a command that serves, on a free port."""
        process = subprocess.Popen(
            shlex.split(f"{command} --port 0"),
            cwd=self.directory, env=self.environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if match := re.search(r"ready at (\S+),", line):
                    self.address = match[1]
                if line.startswith("Ctrl-C"):
                    break
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def test_the_walk_from_a_table_to_answers_over_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PAGE.read_text(encoding="utf-8")
    shell = Shell(tmp_path)
    outputs = {}
    elsewhere = ("source ", "aws ", "multimodal-algo aws ", "python ")
    here = [command for command in commands(text) if not command.startswith(elsewhere)]
    server, last = here[-2:]
    assert server.startswith("multimodal-algo local serve")
    for command in here[:-2]:
        outputs[" ".join(command.split()[:3])] = shell.run(command)
    with shell.serving(server):
        answer = shell.run(f"{last} --silent")
    assert "listed=date:dmy, photo=image" in outputs["multimodal-algo validate shop.csv"]
    assert "0 errors, 0 warnings, 300 rows: ready to train" in outputs["multimodal-algo validate shop.csv"]
    split = outputs["multimodal-algo split shop.csv"].splitlines()
    assert split[:5] == re.findall(r"^(?:class  |book|chair|lamp|mug).*\d$|^class .*$", text, re.MULTILINE)[:5]
    right = re.search(r"(\d+) of 60 right", outputs["multimodal-algo score predictions/lines.csv.out"])
    assert right is not None
    assert int(right[1]) > 48
    with (tmp_path / "predictions/lines.csv.out").open() as stream:
        assert next(csv.reader(stream))[0] == "00002"
    assert '"predicted_label": "mug"' in answer


def test_the_commands_for_sagemaker_print_their_requests(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.environment |= {"AWS_DEFAULT_REGION": "us-east-1"}
    (tmp_path / "lines.csv").write_text("1,2\n")
    (tmp_path / "pipeline.py").symlink_to(PAGE.parents[1] / "notebooks/pipeline.py")
    there = [each for each in commands(PAGE.read_text(encoding="utf-8")) if each.startswith("multimodal-algo aws ")]
    assert len(there) > 10
    # To stop a job, its kind is asked for first.
    there = [each for each in there if not each.startswith("multimodal-algo aws stop ")]
    script = " && ".join(each if "--dry-run" in each else f"{each} --dry-run" for each in there)
    assert script.count("aws deploy") == shell.run(script).count('"operation": "sagemaker:CreateEndpointConfig"') == 3
    pipeline = next(each for each in commands(PAGE.read_text(encoding="utf-8")) if each.startswith("python "))
    printed = json.loads(shell.run(pipeline.replace("python", sys.executable, 1)))
    assert [step["Name"] for step in printed["Steps"]] == ["Train", "IsGoodEnough"]
