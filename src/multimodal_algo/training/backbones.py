"""The pretrained networks of a job. They are loaded as soon as the first header shows which columns there are."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from multimodal_algo.artifact import IMAGE_BACKBONE, TEXT_BACKBONE, BackboneEntry
from multimodal_algo.branches.registry import FINE_TUNED
from multimodal_algo.config.automm_networks import without_weights
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.inference import Engine
from multimodal_algo.config.recipes import RECIPES, Branch, ModelSettings, Recipe
from multimodal_algo.core.schema import FeatureSchema, Modality
from multimodal_algo.ingest.features import Encoder, Encoders
from multimodal_algo.ingest.sources import TableFormat
from multimodal_algo.networks.stored import GRAPH
from multimodal_algo.networks.texts.library import MINILM
from multimodal_algo.networks.timm_networks import similar_in_timm
from multimodal_algo.training.continuing.export import Networks
from multimodal_algo.training.languages import languages_in, suited_networks

if TYPE_CHECKING:
    from multimodal_algo.networks.backbone import Backbone
    from multimodal_algo.networks.image_backbone import ImageBackbone
    from multimodal_algo.networks.text_backbone import TextBackbone

_LOG = logging.getLogger(__name__)

# The largest difference between predictions: of a probability, or in units of a regression's deviation.
_TOLERANCE = 0.01


class Backbones:
    """The pretrained networks that turn the job's texts and images into vectors.

    Training and validation rows share them.

    Parameters
    ----------
    hyperparameters
        Hyperparameters of the job, which name the networks.
    weights_dir
        Directory of the weights that were installed with the image.
    scratch
        Directory for the networks' temporary files.
    frozen
        Directories of networks, by modality, that are used instead of those that the hyperparameters name.
    start
        Directories of networks, by modality, from which fine-tuning starts. Otherwise it starts from the networks
        above.
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
        self._written: set[Path] = set()
        self._image: ImageBackbone | None = None
        self._texts: list[TextBackbone] = []
        self._text_start = MINILM

    def suit_languages(self, train: Path) -> None:
        """Choose text networks that know the languages of the data at `train`, if ``text_backbone`` is ``auto``."""
        hyperparameters = self.hyperparameters
        languages = languages_in(train, TableFormat.of(hyperparameters))
        (self._text_start,) = suited_networks([MINILM], languages)
        recipe = _text_networks(hyperparameters)
        networks = suited_networks(recipe, languages)
        if hyperparameters.text_backbone == "auto" and Modality.TEXT not in self.frozen and networks != recipe:
            _LOG.info("text backbone: %s for the languages %s", ", ".join(networks), ", ".join(sorted(languages)))
            self.hyperparameters = hyperparameters.model_copy(update={"text_backbone": ",".join(networks)})

    def encoders_of(self, schema: FeatureSchema) -> Encoders:
        """Return the encoders (networks that make vectors) of the modalities that `schema` has.

        Networks are loaded at the first call, and run by the fastest engine.
        """
        loaded = self._networks().keys()
        self.load(schema)
        for name, network in self._networks().items():
            if name not in loaded:
                self._speed_up(network, name)
        return self.encoders

    def load(self, schema: FeatureSchema) -> None:
        """Load the networks of the modalities that `schema` has, unless they are loaded already."""
        from multimodal_algo.networks.image_backbone import ImageBackbone
        from multimodal_algo.networks.text_backbone import TextBackbone

        if schema.of(Modality.IMAGE) and self._image is None:
            self._image = ImageBackbone.resolve(
                str(self.frozen.get(Modality.IMAGE, _image_network(self.hyperparameters))),
                weights_dir=self.weights_dir,
                allow_untrained=self.hyperparameters.quality == "toy",
                seed=self.hyperparameters.seed,
            )
            _LOG.info("image backbone: %s, weights: %s", self._image.info.architecture, self._image.info.source)
        if schema.of(Modality.TEXT) and not self._texts:
            self._texts = [TextBackbone.resolve(name, self.weights_dir) for name in self._text_names()]
            _LOG.info("text backbone: %s", ", ".join(network.info.name for network in self._texts))

    def _text_names(self) -> list[str]:
        from multimodal_algo.networks.texts.find import find_text_networks

        name = str(self.frozen.get(Modality.TEXT, self.hyperparameters.text_backbone))
        return list(_text_networks(self.hyperparameters)) if name == "auto" else find_text_networks(name)

    def text_languages(self, schema: FeatureSchema) -> frozenset[str] | None:
        """Return the languages that at least one of the text networks knows.

        Return None if a network does not list its languages.
        """
        self.load(schema)
        languages = [network.info.languages for network in self._texts]
        return frozenset().union(*languages) if all(languages) else None

    def _networks(self) -> dict[Path, Backbone]:
        """Return the loaded networks. The key of each network is its directory inside an artifact."""
        networks: dict[Path, Backbone] = {} if self._image is None else {IMAGE_BACKBONE: self._image}
        return networks | {TEXT_BACKBONE / str(number): network for number, network in enumerate(self._texts)}

    @property
    def encoders(self) -> Encoders:
        """The encoders (networks that make vectors) that are loaded, by modality."""
        encoders: dict[Modality, Encoder] = {}
        if self._image is not None:
            encoders[Modality.IMAGE] = self._image.encoder
        if self._texts:
            from multimodal_algo.networks.text_backbone import joined

            encoders[Modality.TEXT] = joined(self._texts)
        return encoders

    def _speed_up(self, network: Backbone, name: Path) -> None:
        """Run a network with the engine that the hyperparameters name, if there is no GPU and the engine can run it."""
        from multimodal_algo.networks.engines import Unavailable, choose_engine

        engine = choose_engine(self.hyperparameters.inference_engine, has_gpu=network.has_gpu)
        if engine is Engine.TORCH or network.has_gpu:
            return
        try:
            graph = self._graph(network, name)
            network.use_graph(graph, Engine.ONNX if engine is Engine.TENSORRT else engine)
            network.describe(graph.parent)
        except Unavailable as reason:
            _LOG.info("%s: run by torch, since %s", name, reason)
        else:
            _LOG.info("%s: run by %s", name, network.engine)

    def _stored(self, network: Backbone, name: Path) -> Path:
        """Return a directory with the network's files. They are written at the first call."""
        directory = self._scratch / name
        if name not in self._written:
            shutil.rmtree(directory, ignore_errors=True)
            network.save(directory)
            self._written.add(name)
        return directory

    @property
    def stored_bytes(self) -> int:
        """Size in bytes of the files that `save` writes."""
        folders = [self._stored(network, name) for name, network in self._networks().items()]
        return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.name != GRAPH)

    def _graph(self, network: Backbone, name: Path) -> Path:
        """Return the path of the network's ONNX graph. It is exported at the first call."""
        graph = self._stored(network, name) / GRAPH
        if not graph.is_file():
            network.export_onnx(graph)
        return graph

    def save_graphs(self, directory: Path, predict: Callable[[Encoders], np.ndarray]) -> None:
        """Write each network as an ONNX graph into an artifact, unless its graph changes the model's predictions.

        Parameters
        ----------
        directory
            Directory of the artifact.
        predict
            Returns the model's predictions for a few rows, (rows, n), made with the given encoders. Predicted numbers
            are standardised: their unit is the standard deviation of the labels.
        """
        networks = self._networks()
        for network in networks.values():
            network.use_torch()
        expected = predict(self.encoders)
        for name, network in networks.items():
            self._save_graph(network, name, directory, lambda: predict(self.encoders), expected)

    def _save_graph(
        self,
        network: Backbone,
        name: Path,
        directory: Path,
        predict: Callable[[], np.ndarray],
        expected: np.ndarray,
    ) -> None:
        from multimodal_algo.networks.engines import Unavailable

        try:
            graph = self._graph(network, name)
            network.use_graph(graph, Engine.ONNX)
            _require_close(predict(), expected)
            shutil.copyfile(graph, directory / name / GRAPH)
        except Unavailable as reason:
            _LOG.info("%s: no ONNX graph in the artifact: %s", name, reason)
        network.use_torch()

    def fine_tuned(self, recipe: Recipe) -> Recipe:
        """Return the recipe (models of each branch) with settings that make fine-tuning start from the job's networks.

        A branch (partial model) is left out if AutoMM cannot fine-tune its network.
        """
        models = {}
        for branch, settings in recipe.models.items():
            start = self._start_settings(branch, settings)
            if start is not None:
                models[branch] = {**start, **settings}
        return replace(recipe, models=models)

    def _start_settings(self, branch: Branch, given: ModelSettings) -> dict[str, str] | None:
        """Return AutoMM's settings that name the weights from which a branch's fine-tuning starts.

        Return None if AutoMM cannot start from them. Networks are skipped if the `given` settings already name their
        weights.
        """
        settings = {}
        modalities = without_weights(FINE_TUNED.get(branch, ()), given)
        if Modality.TEXT in modalities and self._texts:
            settings["model.hf_text.checkpoint_name"] = str(self._save_text_start(branch))
        if Modality.IMAGE in modalities and self._image is not None:
            directory = self._save_image_start(self._image)
            if directory is None:
                _LOG.warning(
                    "%s: AutoGluon cannot fine-tune %s. Left out, unless image_hyperparameters name a network of timm "
                    "by model.timm_image.checkpoint_name, for example %s",
                    branch.value, self._image.info.architecture, _similar_in_timm(self._image),
                )  # fmt: skip
                return None
            settings["model.timm_image.checkpoint_name"] = str(directory)
        return settings

    def _save_text_start(self, branch: Branch) -> Path:
        """Write the text network from which fine-tuning starts, and return its directory.

        It is the first of the job's networks that the library transformers can load. Without such a network, it is
        MiniLM for English and e5 for other languages.
        """
        from multimodal_algo.networks.text_backbone import TextBackbone
        from multimodal_algo.networks.texts.find import find_text_networks

        directory = self._scratch / "fine_tuned" / "text"
        networks = self._texts
        if Modality.TEXT in self._start:
            networks = [TextBackbone.resolve(name) for name in find_text_networks(str(self._start[Modality.TEXT]))]
        if not any(network.save_for_transformers(directory) for network in networks):
            _LOG.info(
                "%s: starts from %s, since AutoMM cannot fine-tune the frozen network", branch.value, self._text_start
            )
            TextBackbone.resolve(self._text_start).save_for_transformers(directory)
        return directory

    def _save_image_start(self, network: ImageBackbone) -> Path | None:
        """Write the image network from which fine-tuning starts, and return its directory.

        Return None if the library timm does not have this network.
        """
        directory = self._scratch / "fine_tuned" / "image"
        if Modality.IMAGE in self._start:
            name = str(self._start[Modality.IMAGE])
            network = type(network).resolve(name, weights_dir=self.weights_dir, allow_untrained=False, seed=0)
        return directory if network.save_for_timm(directory) else None

    def image_entry(self) -> BackboneEntry | None:
        """Return the artifact's description of the image network. Return None if there are no image columns."""
        if self._image is None:
            return None
        return BackboneEntry(**vars(self._image.info))

    def save(self, directory: Path) -> None:
        """Write all networks into an artifact, without their ONNX graphs."""
        for name, network in self._networks().items():
            stored = self._stored(network, name)
            shutil.copytree(stored, directory / name, ignore=shutil.ignore_patterns(GRAPH), dirs_exist_ok=True)


def _similar_in_timm(network: ImageBackbone) -> str:
    """Return the name of a network of timm that resembles this network of another library."""
    return similar_in_timm(str(network.info.settings.get("config", {}).get("model_type", "")))


def _image_network(hyperparameters: HyperParameters) -> str:
    name = hyperparameters.image_backbone
    return RECIPES[hyperparameters.quality].image_backbone if name == "auto" else name


def _text_networks(hyperparameters: HyperParameters) -> tuple[str, ...]:
    """Return the names of the text networks that the hyperparameter ``quality`` stands for."""
    return RECIPES[hyperparameters.quality].text_networks


def _require_close(predictions: np.ndarray, expected: np.ndarray) -> None:
    from multimodal_algo.networks.engines import Unavailable

    difference = float(np.abs(predictions - expected).max())
    # The comparison is False for NaN.
    if not difference <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise Unavailable(f"predictions differ by {difference:.2g}")
