"""The list of all branches, each declared once. A new branch is one `BranchSpec` and its model class.

The names of the branches are in the enumeration `Branch` of ``config/recipes.py``, for recipes and artifacts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.branches.finetuned import EarlyFusionModel, FineTunedImageModel, FineTunedTextModel
from multimodal_algo.branches.image import ImageModel
from multimodal_algo.branches.joint import JointModel
from multimodal_algo.branches.tabular import CatModel, NumModel
from multimodal_algo.branches.text import TextModel, TextVectorsModel
from multimodal_algo.branches.translated import DESCRIPTION, TranslatedModel
from multimodal_algo.config.inference import Engine
from multimodal_algo.config.recipes import Branch
from multimodal_algo.core.schema import FeatureSchema, Modality
from multimodal_algo.core.task import Task

Columns = Callable[[FeatureSchema], tuple[str, ...]]
"""Chooses the columns of a branch. Without any of them a dataset does not have the branch."""


@dataclass(frozen=True)
class BranchSpec:
    """The declaration of one branch (partial model).

    Parameters
    ----------
    branch
        Name of the branch.
    model
        Class of the branch's models.
    columns
        Function that chooses the branch's columns from a schema.
    effort
        Weight by which the branch gets its share of the time for fitting.
    networks
        Modalities whose networks the branch fine-tunes. Empty for a branch that AutoGluon fits to vectors and cells.
    image_folder
        Folder in the artifact, if the branch has one model per image column. None if the branch has one model.
    """

    branch: Branch
    model: type[BranchModel]
    columns: Columns
    effort: float
    networks: tuple[Modality, ...] = ()
    image_folder: str | None = None

    @property
    def is_fine_tuned(self) -> bool:
        """Whether the branch (partial model) fine-tunes networks.

        Its model settings are then AutoMM's dotted hyperparameters.
        """
        return bool(self.networks)

    @property
    def sees_images(self) -> bool:
        """Whether the branch's models read the images themselves instead of their vectors."""
        return Modality.IMAGE in self.networks


def _all_of(modality: Modality) -> Columns:
    """Return a function that chooses all columns of one modality."""
    return lambda schema: schema.of(modality)


def _numbers_and_categories(schema: FeatureSchema) -> tuple[str, ...]:
    """Return the columns of numbers and of categories if a schema has both, otherwise nothing."""
    numbers, categories = schema.of(Modality.NUM), schema.of(Modality.CAT)
    return numbers + categories if numbers and categories else ()


def _all_modalities(schema: FeatureSchema) -> tuple[str, ...]:
    """Return all columns if a schema has several modalities with texts or images among them, otherwise nothing.

    Each image column counts as a modality of its own.
    """
    text, images = schema.of(Modality.TEXT), schema.of(Modality.IMAGE)
    parts = bool(text) + len(images) + bool(schema.of(Modality.NUM)) + bool(schema.of(Modality.CAT))
    return schema.features if parts > 1 and (text or images) else ()


_TEXT, _IMAGE = _all_of(Modality.TEXT), _all_of(Modality.IMAGE)
_TEXT_NETWORK, _IMAGE_NETWORK = (Modality.TEXT,), (Modality.IMAGE,)

SPECS: Mapping[Branch, BranchSpec] = {
    spec.branch: spec
    for spec in (
        BranchSpec(Branch.TEXT, TextModel, _TEXT, 2.0),
        BranchSpec(Branch.TEXT_VECTORS, TextVectorsModel, _TEXT, 0.5),
        BranchSpec(Branch.NUM, NumModel, _all_of(Modality.NUM), 1.0),
        BranchSpec(Branch.CAT, CatModel, _all_of(Modality.CAT), 1.0),
        BranchSpec(Branch.IMAGE, ImageModel, _IMAGE, 2.0, image_folder="img"),
        BranchSpec(Branch.TABLE, JointModel, _numbers_and_categories, 1.5),
        BranchSpec(Branch.JOINT, JointModel, _all_modalities, 3.0),
        BranchSpec(Branch.TEXT_FINE_TUNED, FineTunedTextModel, _TEXT, 10.0, _TEXT_NETWORK),
        BranchSpec(Branch.IMAGE_FINE_TUNED, FineTunedImageModel, _IMAGE, 10.0, _IMAGE_NETWORK, "img_tuned"),
        BranchSpec(Branch.EARLY, EarlyFusionModel, _all_modalities, 15.0, _TEXT_NETWORK + _IMAGE_NETWORK),
    )
}
"""The branches, in the order of their votes."""

FINE_TUNED: Mapping[Branch, tuple[Modality, ...]] = {
    branch: spec.networks for branch, spec in SPECS.items() if spec.is_fine_tuned
}
"""The networks of each branch that fine-tunes any. Without a GPU a recipe leaves these branches out."""


def is_fine_tuned(branch: str) -> bool:
    """Whether `branch` fine-tunes networks."""
    return SPECS[Branch(branch)].is_fine_tuned


def needs_pictures(branches: Iterable[str]) -> bool:
    """Whether any of `branches` reads the images themselves instead of their vectors."""
    return any(SPECS[Branch(branch)].sees_images for branch in branches)


def new_models(schema: FeatureSchema, task: Task, branches: Collection[Branch]) -> list[tuple[Branch, BranchModel]]:
    """Return an unfitted model of each of `branches` for which `schema` has columns, in the order of the votes."""
    models: list[tuple[Branch, BranchModel]] = []
    for branch, spec in SPECS.items():
        columns = spec.columns(schema) if branch in branches else ()
        if spec.image_folder is not None:
            for column in columns:
                models.append((branch, spec.model(_image_name(spec.image_folder, column), (column,), task)))
        elif columns:
            models.append((branch, spec.model(branch.value, columns, task)))
    return models


def load_model(
    branch: str, name: str, columns: tuple[str, ...], task: Task, directory: Path, engine: Engine = Engine.AUTO
) -> BranchModel:
    """Return the branch model that was saved in `directory`. See `BranchModel` for the other parameters."""
    model_class = SPECS[Branch(branch)].model
    model = (
        TranslatedModel.of(model_class, name, columns, task, directory)
        if (directory / DESCRIPTION).is_file()
        else model_class(name, columns, task)
    )
    model.load(directory, engine)
    return model


def _image_name(folder: str, column: str) -> str:
    # A column may be named a/b_image. Its directory must not lie elsewhere.
    return f"{folder}/{quote(column, safe=' ')}"
