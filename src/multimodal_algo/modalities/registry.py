"""Which model takes which modality: a new modality is one new file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from multimodal_algo.modalities.backbones import TextBackbone
from multimodal_algo.modalities.base import ModalityModel
from multimodal_algo.modalities.image import ImageModel
from multimodal_algo.modalities.tabular import CatModel, NumModel
from multimodal_algo.modalities.text import TextModel
from multimodal_algo.schema import FeatureSchema, Modality

_MODELS: Mapping[Modality, type[ModalityModel]] = {
    Modality.TEXT: TextModel,
    Modality.NUM: NumModel,
    Modality.CAT: CatModel,
    Modality.IMAGE: ImageModel,
}


def new_models(
    schema: FeatureSchema, n_classes: int, text_backbone: TextBackbone | None
) -> list[tuple[Modality, ModalityModel]]:
    """Unfitted models of all modalities that `schema` has, in the order of their vectors; one per image column."""
    models: list[tuple[Modality, ModalityModel]] = []
    for modality in (Modality.TEXT, Modality.NUM, Modality.CAT):
        if columns := schema.of(modality):
            model = _MODELS[modality](modality.value, columns, n_classes)
            if isinstance(model, TextModel):
                model = TextModel(model.name, columns, n_classes, text_backbone)
            models.append((modality, model))
    for column in schema.of(Modality.IMAGE):
        models.append((Modality.IMAGE, ImageModel(f"img/{_file_name(column)}", (column,), n_classes)))
    return models


def load_model(modality: str, name: str, columns: tuple[str, ...], n_classes: int, directory: Path) -> ModalityModel:
    """The model that was saved in `directory`."""
    model = _MODELS[Modality(modality)](name, columns, n_classes)
    model.load(directory)
    return model


def _file_name(column: str) -> str:
    # A column may be called a/b_image: its directory must not lie elsewhere.
    return quote(column, safe=" ")
