"""Every ordinary configuration of pip reaches a build of the images. pip itself reads what is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts/pip_settings.py"
ONE, TWO, THREE = (f"https://{name}.example/simple" for name in ("one", "two", "three"))


def pip_list(configuration: Path, **variables: str) -> set[str]:
    """The settings as pip lists them."""
    environment = {**clean(), "PIP_CONFIG_FILE": str(configuration), **variables}
    command = [sys.executable, "-m", "pip", "config", "list"]
    lines = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    return {line for line in lines if line.startswith("global.") and not line.startswith("global.cert=")}


def clean() -> dict[str, str]:
    """The environment without settings of pip, of this user or this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return {**kept, "HOME": "/nonexistent", "XDG_CONFIG_DIRS": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"}


def written(tmp_path: Path, configuration: str, **variables: str) -> Path:
    (tmp_path / "pip.conf").write_text(configuration)
    environment = {**clean(), "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), **variables}
    done = subprocess.run([sys.executable, SCRIPT], env=environment, capture_output=True, text=True, check=True)
    (tmp_path / "written.conf").write_text(done.stdout)
    return tmp_path / "written.conf"


@pytest.mark.parametrize(
    ("configuration", "variables", "expected"),
    [
        ("", {}, {}),
        (f"[global]\nindex-url = {ONE}\n", {}, {"index-url": ONE}),
        (f"[global]\nindex-url = {ONE}\n[install]\nindex-url = {TWO}\n", {}, {"index-url": TWO}),
        (f"[global]\nindex-url = {ONE}\n", {"PIP_INDEX_URL": THREE}, {"index-url": THREE}),
        (
            f"[global]\nextra-index-url =\n    {ONE}\n    {TWO}\n[install]\ntrusted-host = a b\n",
            {"PIP_TIMEOUT": "60"},
            {"extra-index-url": rf"\n{ONE}\n{TWO}", "trusted-host": r"\na\nb", "timeout": r"60"},
        ),
        (f"[global]\nextra-index-url = {ONE}\n    file:///wheels\n", {}, {"extra-index-url": ONE}),
        (
            "[global]\nindex-url = https://u:p%40ss@one.example/=x\n",
            {},
            {"index-url": "https://u:p%40ss@one.example/=x"},
        ),
        (f"[list]\nindex-url = {ONE}\n[freeze]\ntimeout = 10\n", {}, {}),
    ],
)
def test_a_build_gets_the_settings_that_hold_for_pip_install(
    tmp_path: Path, configuration: str, variables: dict[str, str], expected: dict[str, str]
) -> None:
    machine = pip_list(written(tmp_path, ""))  # /etc/pip.conf, which pip always reads
    file = written(tmp_path, configuration, **variables)
    listed = {line.replace("'\\n", "'") for line in pip_list(file) - machine}
    assert listed == {f"global.{name}='{value.removeprefix(chr(92) + 'n')}'" for name, value in expected.items()}
