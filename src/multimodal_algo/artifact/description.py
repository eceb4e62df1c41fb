"""The description of an artifact, ``model_config.json``, and the names of the artifact's files."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from multimodal_algo import __version__
from multimodal_algo.config.decision_entry import DecisionEntry
from multimodal_algo.config.inference import on_one_line
from multimodal_algo.core.column_names import ColumnNames
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import ID, LABEL, FeatureSchema
from multimodal_algo.core.task import ProblemType, Task
from multimodal_algo.ingest.image_input import IMAGENET, ImageInput

FORMAT_VERSION = 7
CONFIG = "model_config.json"
SIGNATURE = "model_config.sig"
FUSION = Path("wholistic/fusion.safetensors")
CONFORMAL = Path("wholistic/conformal.npz")
ROW_KEYS = Path("rows.npy")
CATEGORIES = Path("categories.npz")
SKETCHES = Path("sketches.npz")
IMAGE_BACKBONE = Path("img/backbone")
TEXT_BACKBONE = Path("text/backbone")
# Hyperparameters with the user's own names of the columns, and their defaults.
_NAMES = {"label": LABEL, "id": ID, "columns": ""}
_MATCHED = ("autogluon.tabular", "torch", "scikit-learn")


class BranchEntry(BaseModel):
    """The entry of a branch (partial model) in an artifact's description: its directory, its kind and its columns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    branch: str
    columns: tuple[str, ...]


class BackboneEntry(BaseModel):
    """The entry of the image network in an artifact's description.

    It has the network's architecture and source, whether its weights are trained, the images that it takes, and the
    settings that its library needs to build it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    source: str
    pretrained: bool
    takes: ImageInput = IMAGENET
    settings: dict[str, Any] = {}


class ModelConfig(BaseModel):
    """The description of an artifact: the content of ``model_config.json``.

    ``classes`` is empty for a regression. ``largest_row`` is the number of characters of the largest training row, or 0
    if it is not known. ``number_categories`` are the category columns whose values are numbers: there, ``1`` and
    ``1.0`` are the same value. ``decision`` is the rule that decides answers, or None for a regression. ``files``
    maps the path of every other file in the artifact to its SHA-256.
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
    number_categories: tuple[str, ...] = ()
    decision: DecisionEntry | None = None
    files: dict[str, str] = {}

    @property
    def task(self) -> Task:
        """Problem type and number of outputs of the model."""
        sought = None if self.decision is None else self.decision.positive_class
        return Task.of(self.problem_type, len(self.classes), self.classes.index(sought) if sought else 1)

    @property
    def names(self) -> ColumnNames:
        """The user's own names of the columns."""
        own = {name: str(self.hyperparameters.get(name) or default) for name, default in _NAMES.items()}
        return ColumnNames.parse(own["label"], own["id"], own["columns"])

    @property
    def schema_(self) -> FeatureSchema:
        """The columns of the training data and what they hold."""
        return FeatureSchema(self.columns)


def current_versions() -> dict[str, str]:
    """Return the installed versions of the libraries that an artifact depends on, and of this package."""
    versions = {name: version(name) for name in _MATCHED}
    return {"multimodal-algo": __version__, "python": f"{sys.version_info[0]}.{sys.version_info[1]}", **versions}


def parse_description(content: bytes, path: str) -> ModelConfig:
    """Return the description with this `content`. `path` is its file, for messages.

    See `read_description` for the errors.
    """
    try:
        _require_format(json.loads(content))
        config = ModelConfig.model_validate_json(content)
    except (ValueError, ValidationError, RecursionError) as error:
        raise UserError(
            f"{path}: this file cannot be read as a model description ({on_one_line(str(error))[:200]}). Train again."
        ) from None
    for name in (*config.files, *(entry.name for entry in config.branches)):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise UserError(f"{path}: '{name[:60]}' lies outside the artifact. Use an archive of a training job.")
    present = current_versions()
    for name, trained_with in config.versions.items():
        installed = present.get(name)
        if name != "multimodal-algo" and installed and installed.split("+")[0] != trained_with.split("+")[0]:
            raise UserError(
                f"The artifact was trained with {name} {trained_with}, but {installed} is installed. "
                "Use the training and inference images of one release."
            )
    return config


def _require_format(description: Any) -> None:
    """Raise an error if the artifact has another format version, because its fields may then mean something else.

    Raises
    ------
    UserError
        The artifact's format is not the one that this version reads. The message names both formats, and the version of
        this package that wrote the artifact.
    """
    if not isinstance(description, dict) or not isinstance(format_version := description.get("format_version"), int):
        return  # the validation of the fields reports it
    if format_version != FORMAT_VERSION:
        versions = description.get("versions")
        written_by = versions.get("multimodal-algo", "?") if isinstance(versions, dict) else "?"
        raise UserError(
            f"The artifact has format {format_version}, but this version reads format {FORMAT_VERSION}. "
            f"Serve it with multimodal-algo {written_by}, or train again."
        )
