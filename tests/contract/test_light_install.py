"""The plain package, as a wheel in an environment of its own: what runs, and what it says where more is needed."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ("pyproject.toml", "README.md", "LICENSE", "NOTICE")
ROLE = "arn:aws:iam::123456789012:role/SageMaker"
REGISTRY = "123456789012"
TRAINING = ("--algorithm-arn", "a", "--role", ROLE, "--train", "s3://b/t", "--output", "s3://b/o")


def finish(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    # Nothing of the environment of the tests is seen.
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    environment |= {"AWS_DEFAULT_REGION": "eu-west-1", "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment with the wheel and the dependencies that it asks for."""
    folder = tmp_path_factory.mktemp("light")
    # setuptools would build in the checkout, and take files there that are gone from the sources.
    project = folder / "project"
    shutil.copytree(ROOT / "src", project / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, project)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, project], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    [wheel] = folder.glob("*.whl")
    constraints = ["--no-compile", "-c", ROOT / "constraints.txt"]
    pip[3:3] = ["--python", folder / "venv/bin/python"]
    subprocess.run([*pip, "install", *constraints, wheel], check=True)
    return folder / "venv/bin"


@pytest.fixture(scope="module")
def folder(light: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample in ``data``, as the light package writes it, and with ``answers.csv`` for it."""
    folder = tmp_path_factory.mktemp("folder")
    done = finish([light / "multimodal-algo", "sample", "--output", "data"], folder)
    assert done.returncode == 0, done.stderr
    with (folder / "data/test.csv").open(newline="", encoding="utf-8") as test:
        answers = [f"{row['ID']},{row['label']},0.9\n" for row in csv.DictReader(test)]
    (folder / "answers.csv").write_text("".join(answers), encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "data/train.csv", "-p", 'text_hyperparameters={"optim.lr": 1e-4}'],
        ["prepare", "data/test.csv", "--output", "lines.csv", "--image-side", "64"],
        ["score", "answers.csv", "data/test.csv"],
        ["aws", "create-algorithm", "--registry", REGISTRY, "--dry-run"],
        ["aws", "train", *TRAINING, "--dry-run"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_that_fits_nothing_runs(light: Path, folder: Path, arguments: list[str]) -> None:
    done = finish([light / "multimodal-algo", *arguments], folder)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["train"],
        ["serve"],
        ["local", "train", "--train", "data/train.csv", "--output", "job"],
        ["export-backbones", "data", "--output", "o"],
    ],
    ids=" ".join,
)
def test_a_command_that_needs_the_rest_says_in_one_sentence_how_to_get_it(
    light: Path, folder: Path, arguments: list[str]
) -> None:
    done = finish([light / "multimodal-algo", *arguments], folder)
    assert done.returncode == 1
    assert 'pip install "multimodal-algo[train]"' in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_python_says_it_too_and_no_heavy_package_is_there(light: Path, folder: Path) -> None:
    code = "import multimodal_algo; multimodal_algo.load('model.tar.gz')"
    done = finish([light / "python", "-c", code], folder)
    assert (
        'multimodal_algo.load needs packages that are not installed: pip install "multimodal-algo[train]"'
        in done.stderr
    )
    heavy = {"torch", "autogluon", "transformers", "pandas", "scipy", "sklearn", "flask"}
    code = f"from importlib.util import find_spec; print([name for name in {heavy} if find_spec(name)])"
    assert finish([light / "python", "-c", code], folder).stdout == "[]\n"
