"""What the images install follows from constraints.txt, whichever build of torch they take."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "containers/base/requirements.py"
CU126 = "https://download.pytorch.org/whl/cu126"


def write(tmp_path: Path, torch_index_url: str) -> tuple[list[str], list[str]]:
    arguments = [str(ROOT / "pyproject.toml"), str(ROOT / "constraints.txt"), str(tmp_path), torch_index_url]
    subprocess.run([sys.executable, str(SCRIPT), *arguments], check=True)
    return (tmp_path / "requirements.txt").read_text().split(), (tmp_path / "constraints.txt").read_text().split()


def pins() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_every_pin_holds_with_the_plain_index(tmp_path: Path) -> None:
    requirements, constraints = write(tmp_path, "")
    assert constraints == pins()
    assert "autogluon.multimodal==1.6.3" in requirements
    assert "autogluon.tabular[xgboost]==1.6.3" in requirements, "tabular_hyperparameters may name it"
    assert not any(line.startswith(("pytest", "mypy", "ruff")) for line in requirements)


def test_what_only_the_simulator_imports_is_in_the_light_install_and_not_in_the_images(tmp_path: Path) -> None:
    requirements, _ = write(tmp_path, "")
    light = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    missing = {line.split(">")[0] for line in set(light) - set(requirements)}
    assert missing == {"optuna", "python-jsonpath"}


def test_an_index_of_torch_builds_pins_its_build_and_frees_the_cuda_packages(tmp_path: Path) -> None:
    _, constraints = write(tmp_path, CU126 + "/")
    assert "torch==2.13.0+cu126" in constraints
    assert "torchvision==0.28.0+cu126" in constraints
    dropped = {pin.split("=")[0] for pin in set(pins()) - set(constraints)} - {"torch", "torchvision"}
    assert dropped
    assert all(name == "triton" or name.startswith(("nvidia-", "cuda-")) for name in dropped)
    assert "nvidia-ml-py3==7.352.0" in constraints
    assert "torchmetrics==1.7.4" in constraints


def test_every_pin_installs_on_the_python_of_debian_bookworm() -> None:
    # It is 3.11.2. The metadata of the installed packages state the versions of Python that they need.
    wrong = [
        f"{installed.name} {installed.version}"
        for installed in distributions()
        if not SpecifierSet(installed.metadata["Requires-Python"] or "").contains("3.11.2")
    ]
    assert wrong == []
