"""The frozen networks of a job, found when the first header shows what columns there are."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multimodal_algo.artifact import IMAGE_BACKBONE, TEXT_BACKBONE, BackboneEntry
from multimodal_algo.hyperparameters import HyperParameters
from multimodal_algo.ingest.features import Encoder, Encoders
from multimodal_algo.recipes import TUNED, Branch, Recipe
from multimodal_algo.schema import FeatureSchema, Modality

if TYPE_CHECKING:
    from multimodal_algo.modalities.backbones import ImageBackbone, TextBackbone

_LOG = logging.getLogger(__name__)


class Backbones:
    """The networks that the columns need; all channels share them.

    Parameters
    ----------
    hyperparameters
        Name them.
    weights_dir
        Where weights are baked in.
    """

    def __init__(self, hyperparameters: HyperParameters, weights_dir: Path) -> None:
        self._hyperparameters = hyperparameters
        self._weights_dir = weights_dir
        self._image: ImageBackbone | None = None
        self._text: TextBackbone | None = None

    def encoders_of(self, schema: FeatureSchema) -> Encoders:
        """Those for the modalities of `schema`, loaded at the first call."""
        from multimodal_algo.modalities.backbones import ImageBackbone, TextBackbone

        encoders: dict[Modality, Encoder] = {}
        if schema.of(Modality.IMAGE):
            self._image = self._image or ImageBackbone.resolve(
                self._hyperparameters.image_backbone,
                weights_dir=self._weights_dir,
                allow_untrained=self._hyperparameters.quality == "toy",
                seed=self._hyperparameters.seed,
            )
            _LOG.info("image backbone: %s, weights: %s", self._image.info.architecture, self._image.info.source)
            encoders[Modality.IMAGE] = self._image.encode
        if schema.of(Modality.TEXT):
            self._text = self._text or TextBackbone.resolve(self._hyperparameters.text_backbone)
            encoders[Modality.TEXT] = self._text.encode
        return encoders

    def tuned(self, recipe: Recipe, scratch: Path) -> Recipe:
        """The recipe whose fine-tuned networks start from these; it loses those that AutoMM cannot start from them.

        Parameters
        ----------
        recipe
            With any hyperparameters of AutoMM's.
        scratch
            Directory for the networks' files while training goes on.
        """
        models = dict(recipe.models)
        for branch in TUNED & models.keys():
            start: dict[str, Any] = {}
            if self._text is not None and branch is not Branch.IMAGE_TUNED:
                self._text.save(scratch / "text")
                start["model.hf_text.checkpoint_name"] = str(scratch / "text")
            if self._image is not None and branch is not Branch.TEXT_TUNED:
                if not self._image.save_for_timm(scratch / "image"):
                    _LOG.warning("%s: AutoGluon cannot fine-tune %s", branch.value, self._image.info.architecture)
                    del models[branch]
                    continue
                start["model.timm_image.checkpoint_name"] = str(scratch / "image")
            models[branch] = {**start, **models[branch]}
        return Recipe(recipe.folds, models)

    def image_entry(self) -> BackboneEntry | None:
        """What the artifact says of the image network; None without one."""
        if self._image is None:
            return None
        info = self._image.info
        return BackboneEntry(architecture=info.architecture, source=info.source, pretrained=info.pretrained)

    def save(self, directory: Path) -> None:
        """Write them into an artifact."""
        if self._image is not None:
            self._image.save(directory / IMAGE_BACKBONE)
        if self._text is not None:
            self._text.save(directory / TEXT_BACKBONE)
