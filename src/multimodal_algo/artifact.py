"""The model artifact: its layout, its description, its integrity.

::

    model_config.json       everything about it, and the SHA-256 of every other file; written last
    text/  num/  cat/       one AutoGluon predictor each
    img/<column>/           one AutoGluon predictor per image column
    table/  joint/          AutoGluon predictors of several modalities, where the recipe has them
    text/backbone/          the sentence network
    img/backbone/           the image network, shared by all image columns
    wholistic/              fusion network and temperature
    earlier/                models of the artifact that the job went on from, if any
    rows.npy                hashes of the rows that it was trained on
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from multimodal_algo import __version__
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.files import sha256
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.core.task import ProblemType, Task

FORMAT_VERSION = 3
CONFIG = "model_config.json"
FUSION = Path("wholistic/fusion.safetensors")
ROW_KEYS = Path("rows.npy")
IMAGE_BACKBONE = Path("img/backbone")
TEXT_BACKBONE = Path("text/backbone")
# Beside a backbone's weights, where it could be exported: the same network as an ONNX graph.
GRAPH = "network.onnx"
_INCOMPLETE = ".incomplete"
_MATCHED = ("autogluon.tabular", "torch", "scikit-learn")


class BranchEntry(BaseModel):
    """One modality model: its directory, its kind (see `recipes.Branch`) and columns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    branch: str
    columns: tuple[str, ...]


class BackboneEntry(BaseModel):
    """The image network: see `modalities.backbones.BackboneInfo`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    source: str
    pretrained: bool


class ModelConfig(BaseModel):
    """What ``model_config.json`` holds.

    ``classes`` is empty for a regression; ``largest_row`` has the characters of the largest training row, 0 where
    that is not known; ``files`` has the SHA-256 of every other file by its path in the artifact.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int
    columns: tuple[str, ...]
    problem_type: ProblemType
    classes: tuple[str, ...]
    branches: tuple[BranchEntry, ...]
    image_backbone: BackboneEntry | None
    min_completeness: float
    recipe: str
    hyperparameters: dict[str, Any]
    versions: dict[str, str]
    metrics: dict[str, Any]
    largest_row: int = 0
    files: dict[str, str] = {}

    @property
    def task(self) -> Task:
        """What is predicted."""
        return Task.of(self.problem_type, len(self.classes))

    @property
    def schema_(self) -> FeatureSchema:
        """The columns of the training file."""
        return FeatureSchema(self.columns)


def current_versions() -> dict[str, str]:
    """Versions of what an artifact depends on."""
    versions = {name: version(name) for name in _MATCHED}
    return {"multimodal-algo": __version__, "python": f"{sys.version_info[0]}.{sys.version_info[1]}", **versions}


def write_artifact(directory: Path, config: ModelConfig, write_files: Callable[[Path], None]) -> ModelConfig:
    """Write an artifact into `directory`, which may be a mount and may exist.

    Files go to a temporary name below it and are renamed; ``model_config.json`` comes last, so a half-written
    artifact is never mistaken for a whole one.

    Parameters
    ----------
    directory
        The platform's model directory.
    config
        The description; its ``files`` are filled in here.
    write_files
        Writes everything else into the directory that it is given.
    """
    staging = directory / _INCOMPLETE
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    write_files(staging)
    hashes = {
        path.relative_to(staging).as_posix(): sha256(path) for path in sorted(staging.rglob("*")) if path.is_file()
    }
    complete = config.model_copy(update={"files": hashes})
    (staging / CONFIG).write_text(complete.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (directory / CONFIG).unlink(missing_ok=True)
    for child in sorted(staging.iterdir(), key=lambda path: path.name == CONFIG):
        target = directory / child.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(child, target)
    staging.rmdir()
    return complete


def read_config(directory: Path) -> ModelConfig:
    """Read and check an artifact's description, versions and files.

    Raises
    ------
    UserError
        No artifact, a format or library version that does not match, a missing or changed file.
    """
    config = read_description(directory)
    _check_files(directory, config)
    return config


def read_description(directory: Path) -> ModelConfig:
    """Read an artifact's description; its files are not looked at.

    Raises
    ------
    UserError
        No artifact, a format or library version that does not match.
    """
    path = directory / CONFIG
    if not path.is_file():
        raise UserError(
            f"{directory}: there is no {CONFIG}, so this is no whole artifact. Train again or check the archive."
        )
    try:
        text = path.read_text(encoding="utf-8")
        _require_format(json.loads(text))
        config = ModelConfig.model_validate_json(text)
    except (ValueError, ValidationError) as error:
        raise UserError(f"{path}: not readable as a model description ({_first_line(error)}). Train again.") from None
    for name in (*config.files, *(entry.name for entry in config.branches)):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise UserError(f"{path}: '{name[:80]}' lies outside the artifact. Use an archive of a training job.")
    for name, wanted in config.versions.items():
        found = current_versions().get(name)
        if name != "multimodal-algo" and found is not None and found.split("+")[0] != wanted.split("+")[0]:
            raise UserError(
                f"The artifact was trained with {name} {wanted}, but {found} is installed: use one release's images."
            )
    return config


def _require_format(description: Any) -> None:
    """Refuse an artifact of another format, whose fields may be others.

    Raises
    ------
    UserError
        With both formats, and the version that wrote the artifact.
    """
    if not isinstance(description, dict) or not isinstance(found := description.get("format_version"), int):
        return  # the validation of the fields reports it
    if found != FORMAT_VERSION:
        versions = description.get("versions")
        written_by = versions.get("multimodal-algo", "?") if isinstance(versions, dict) else "?"
        raise UserError(
            f"The artifact has format {found}, this version reads {FORMAT_VERSION}: "
            f"serve it with multimodal-algo {written_by}, or train again."
        )


def _check_files(directory: Path, config: ModelConfig) -> None:
    for name, expected in config.files.items():
        path = directory / name
        if not path.is_file():
            raise UserError(f"The artifact is incomplete: {name} is missing. Download or train it again.")
        if sha256(path) != expected:
            raise UserError(f"The artifact is damaged: {name} is not what was written. Download or train it again.")


def _first_line(error: Exception) -> str:
    return str(error).replace("\n", " ")[:200]
