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
from multimodal_algo.training.backbones import Backbones


@dataclass(frozen=True)
class FrozenNetworks:
    """The frozen networks of a job, as another process can load them.

    Parameters
    ----------
    hyperparameters, weights_dir
        See `Backbones`.
    frozen
        Those of an earlier job, by modality.
    """

    hyperparameters: HyperParameters
    weights_dir: Path
    frozen: tuple[tuple[str, SentDirectory], ...]

    @classmethod
    def of(cls, backbones: Backbones, executor: Executor) -> FrozenNetworks:
        """Those that `backbones` loads on this host."""
        frozen = tuple(
            (modality.value, SentDirectory.send(path, executor)) for modality, path in backbones.frozen.items()
        )
        return cls(backbones.hyperparameters, backbones.weights_dir, frozen)

    def encoders_of(self, schema: FeatureSchema) -> Encoders:
        """Load the networks that `schema` needs, once a process, and return their encoders."""
        return _loaded(self).encoders_of(schema)


@lru_cache(maxsize=1)
def _loaded(networks: FrozenNetworks) -> Backbones:
    frozen = {Modality(modality): sent.path() for modality, sent in networks.frozen}
    return Backbones(networks.hyperparameters, networks.weights_dir, Path(mkdtemp()), frozen=frozen)
