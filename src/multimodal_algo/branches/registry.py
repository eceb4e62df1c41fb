"""Which model takes which columns: a new kind of model is one new file and one line here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import quote

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.branches.finetuned import EarlyFusionModel, FineTunedImageModel, FineTunedTextModel
from multimodal_algo.branches.image import ImageModel
from multimodal_algo.branches.joint import JointModel
from multimodal_algo.branches.tabular import CatModel, NumModel
from multimodal_algo.branches.text import TextModel
from multimodal_algo.branches.translated import DESCRIPTION, TranslatedModel
from multimodal_algo.config.recipes import Branch
from multimodal_algo.core.schema import FeatureSchema, Modality
from multimodal_algo.core.task import Task

_MODELS: Mapping[Branch, type[BranchModel]] = {
    Branch.TEXT: TextModel,
    Branch.NUM: NumModel,
    Branch.CAT: CatModel,
    Branch.IMAGE: ImageModel,
    Branch.TABLE: JointModel,
    Branch.JOINT: JointModel,
    Branch.TEXT_FINE_TUNED: FineTunedTextModel,
    Branch.IMAGE_FINE_TUNED: FineTunedImageModel,
    Branch.EARLY: EarlyFusionModel,
}
_IMAGES = {Branch.IMAGE: "img", Branch.IMAGE_FINE_TUNED: "img_tuned"}


def new_models(schema: FeatureSchema, task: Task, branches: Collection[Branch]) -> list[tuple[Branch, BranchModel]]:
    """Unfitted models of those of `branches` that `schema` has columns for, in the order of their vectors.

    There is one per image column, and none that would only repeat another.
    """
    models: list[tuple[Branch, BranchModel]] = []
    for branch in Branch:
        if branch not in branches:
            continue
        if branch in _IMAGES:
            for column in schema.of(Modality.IMAGE):
                models.append((branch, _MODELS[branch](_image_name(_IMAGES[branch], column), (column,), task)))
        elif columns := _columns(schema, branch):
            models.append((branch, _MODELS[branch](branch.value, columns, task)))
    return models


def load_model(branch: str, name: str, columns: tuple[str, ...], task: Task, directory: Path) -> BranchModel:
    """The model that was saved in `directory`."""
    kind = _MODELS[Branch(branch)]
    if (directory / DESCRIPTION).is_file():
        return TranslatedModel.read(kind, name, columns, task, directory)
    model = kind(name, columns, task)
    model.load(directory)
    return model


def _columns(schema: FeatureSchema, branch: Branch) -> tuple[str, ...]:
    if branch is Branch.TABLE:
        numbers, categories = schema.of(Modality.NUM), schema.of(Modality.CAT)
        return numbers + categories if numbers and categories else ()
    if branch in (Branch.JOINT, Branch.EARLY):
        text, images = schema.of(Modality.TEXT), schema.of(Modality.IMAGE)
        parts = bool(text) + len(images) + bool(schema.of(Modality.NUM)) + bool(schema.of(Modality.CAT))
        return schema.features if parts > 1 and (text or images) else ()
    return schema.of(Modality.TEXT if branch is Branch.TEXT_FINE_TUNED else Modality(branch.value))


def _image_name(folder: str, column: str) -> str:
    # A column may be called a/b_image: its directory must not lie elsewhere.
    return f"{folder}/{quote(column, safe=' ')}"
