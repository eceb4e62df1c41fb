"""The frozen networks of a job, found when the first header shows what columns there are."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.artifact import GRAPH, IMAGE_BACKBONE, TEXT_BACKBONE, BackboneEntry
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.inference import Engine
from multimodal_algo.config.recipes import FINE_TUNED, Branch, Recipe
from multimodal_algo.core.schema import FeatureSchema, Modality
from multimodal_algo.ingest.features import Encoder, Encoders
from multimodal_algo.training.continuing.export import Networks

if TYPE_CHECKING:
    from multimodal_algo.networks.frozen import Backbone, ImageBackbone, TextBackbone

_LOG = logging.getLogger(__name__)

# Of probabilities, or of the largest number of a regression.
_TOLERANCE = 0.01


class Backbones:
    """The networks that the columns need; all channels share them.

    Parameters
    ----------
    hyperparameters
        Name them.
    weights_dir
        Where weights are baked in.
    scratch
        Directory for their files while training goes on.
    frozen
        Those of an earlier job, in place of what the hyperparameters name.
    start
        Those from which fine-tuning starts, in place of the frozen ones.
    """

    def __init__(
        self,
        hyperparameters: HyperParameters,
        weights_dir: Path,
        scratch: Path,
        *,
        frozen: Networks = MappingProxyType({}),
        start: Networks = MappingProxyType({}),
    ) -> None:
        self.hyperparameters = hyperparameters
        self.weights_dir = weights_dir
        self._scratch = scratch
        self.frozen = frozen
        self._start = start
        self._image: ImageBackbone | None = None
        self._text: TextBackbone | None = None

    def encoders_of(self, schema: FeatureSchema) -> Encoders:
        """Those for the modalities of `schema`, loaded at the first call and run by what is fastest."""
        found = [name for name, network in self._networks().items() if network is None]
        self.load(schema)
        for name, network in self._networks().items():
            if network is not None and name in found:
                self._speed_up(network, name)
        return self.encoders

    def load(self, schema: FeatureSchema) -> None:
        """Load those for the modalities of `schema`, once."""
        from multimodal_algo.networks.frozen import ImageBackbone, TextBackbone

        if schema.of(Modality.IMAGE) and self._image is None:
            self._image = ImageBackbone.resolve(
                str(self.frozen.get(Modality.IMAGE, self.hyperparameters.image_backbone)),
                weights_dir=self.weights_dir,
                allow_untrained=self.hyperparameters.quality == "toy",
                seed=self.hyperparameters.seed,
            )
            _LOG.info("image backbone: %s, weights: %s", self._image.info.architecture, self._image.info.source)
        if schema.of(Modality.TEXT) and self._text is None:
            self._text = TextBackbone.resolve(str(self.frozen.get(Modality.TEXT, self.hyperparameters.text_backbone)))

    def _networks(self) -> dict[Path, Backbone | None]:
        return {IMAGE_BACKBONE: self._image, TEXT_BACKBONE: self._text}

    @property
    def encoders(self) -> Encoders:
        """The networks, by the modality that they encode."""
        encoders: dict[Modality, Encoder] = {}
        if self._image is not None:
            encoders[Modality.IMAGE] = self._image.encode
        if self._text is not None:
            encoders[Modality.TEXT] = self._text.encode
        return encoders

    def _speed_up(self, network: Backbone, name: Path) -> None:
        from multimodal_algo.networks.engines import Unavailable, chosen

        engine = chosen(self.hyperparameters.inference_engine, has_gpu=network.has_gpu)
        if engine is Engine.TORCH or network.has_gpu:
            return
        try:
            network.use_onnx(self._graph(network, name), Engine.ONNX, has_gpu=False)
        except Unavailable as reason:
            _LOG.info("%s: run by torch, since %s", name, reason)

    def _graph(self, network: Backbone, name: Path) -> Path:
        """The network as an ONNX graph, exported at the first call."""
        graph = self._scratch / name / GRAPH
        if not graph.is_file():
            network.export_onnx(graph)
        return graph

    def save_graphs(self, directory: Path, answers: Callable[[Encoders], np.ndarray]) -> None:
        """Write the networks as ONNX graphs into an artifact, those by which `answers` are the same.

        Parameters
        ----------
        directory
            Of the artifact.
        answers
            What the model says of some rows, float32 (rows, n), by the networks given.
        """
        from multimodal_algo.networks.engines import Unavailable

        networks = self._networks()
        for network in networks.values():
            if network is not None:
                network.use_torch()
        expected = answers(self.encoders)
        for name, network in networks.items():
            if network is None:
                continue
            try:
                graph = self._graph(network, name)
                network.use_onnx(graph, Engine.ONNX, has_gpu=False)
                off = float(np.abs(answers(self.encoders) - expected).max())
                if not off <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
                    raise Unavailable(f"answers differ by {off:.2g}")
                shutil.copyfile(graph, directory / name / GRAPH)
            except Unavailable as reason:
                _LOG.info("%s: no ONNX graph in the artifact: %s", name, reason)
            network.use_torch()

    def tuned(self, recipe: Recipe) -> Recipe:
        """The recipe whose fine-tuned networks start from these; it loses those that AutoMM cannot start from them.

        Parameters
        ----------
        recipe
            With any hyperparameters of AutoMM's.
        """
        from multimodal_algo.networks.frozen import ImageBackbone, TextBackbone

        scratch = self._scratch / "tuned"
        models = dict(recipe.models)
        for branch in FINE_TUNED & models.keys():
            start: dict[str, Any] = {}
            if self._text is not None and branch is not Branch.IMAGE_FINE_TUNED:
                network = self._text
                if Modality.TEXT in self._start:
                    network = TextBackbone.resolve(str(self._start[Modality.TEXT]))
                network.save(scratch / "text")
                start["model.hf_text.checkpoint_name"] = str(scratch / "text")
            if self._image is not None and branch is not Branch.TEXT_FINE_TUNED:
                image = self._image
                if Modality.IMAGE in self._start:
                    image = ImageBackbone.resolve(
                        str(self._start[Modality.IMAGE]), weights_dir=self.weights_dir, allow_untrained=False, seed=0
                    )
                if not image.save_for_timm(scratch / "image"):
                    _LOG.warning("%s: AutoGluon cannot fine-tune %s", branch.value, image.info.architecture)
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
