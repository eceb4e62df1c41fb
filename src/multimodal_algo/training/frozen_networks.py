"""The frozen networks of a job, sent to every process that reads rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.schema import FeatureSchema, Modality
from multimodal_algo.execution.protocol import Executor, SentDirectory
from multimodal_algo.ingest.features import Encoders
from multimodal_algo.ingest.parts import EncodersOf
from multimodal_algo.training.backbones import Backbones


def encoders_for(backbones: Backbones, executor: Executor) -> EncodersOf:
    """Return the function with which hosts load the encoders (networks that make vectors) when they read rows.

    In this process it returns the networks of `backbones`. Other processes load networks of their own with it.
    """
    if executor.resources.in_process:
        return backbones.encoders_of
    return FrozenNetworks.send(backbones, executor).encoders_of


@dataclass(frozen=True)
class FrozenNetworks:
    """Everything that another process needs to load the frozen networks of a job. It can be pickled.

    Parameters
    ----------
    hyperparameters
        Hyperparameters that name the networks.
    weights_dir
        Directory of the weights that were installed with the image. It is the same on every host.
    frozen
        Directories of networks, by the name of the modality, that are used instead of those that the hyperparameters
        name.
    """

    hyperparameters: HyperParameters
    weights_dir: Path
    frozen: tuple[tuple[str, SentDirectory], ...]

    @classmethod
    def send(cls, backbones: Backbones, executor: Executor) -> FrozenNetworks:
        """Send the networks of `backbones` to all hosts of the executor, so that any process there can load them."""
        frozen = tuple(
            (modality.value, SentDirectory.send(path, executor)) for modality, path in backbones.frozen.items()
        )
        return cls(backbones.hyperparameters, backbones.weights_dir, frozen)

    def encoders_of(self, schema: FeatureSchema) -> Encoders:
        """Return the encoders of the modalities that `schema` has. Each process loads a network only once."""
        return _loaded(self).encoders_of(schema)


@lru_cache(maxsize=1)
def _loaded(networks: FrozenNetworks) -> Backbones:
    frozen = {Modality(modality): sent.path() for modality, sent in networks.frozen}
    return Backbones(networks.hyperparameters, networks.weights_dir, Path(mkdtemp()), frozen=frozen)
