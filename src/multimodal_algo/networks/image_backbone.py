"""Frozen image networks, which turn images into vectors."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal_algo.ingest.features import ImageEncoder
from multimodal_algo.ingest.image_input import ImageInput
from multimodal_algo.networks.backbone import Backbone
from multimodal_algo.networks.embedded import EMBEDDED
from multimodal_algo.networks.engines import optimise_for_cpu
from multimodal_algo.networks.image_info import BackboneInfo
from multimodal_algo.networks.library import WEIGHTS, find_image_network, read_image_network
from multimodal_algo.networks.stored import NetworkDescription, write_weights
from multimodal_algo.networks.timm_networks import write_for_timm

if TYPE_CHECKING:
    import torch

# The activations of larger batches fit neither a CPU's caches nor the memory that the allocator holds.
_CPU_IMAGES, _GPU_IMAGES = 4, 128


class ImageBackbone(Backbone):
    """A frozen image network without its classifier, which turns images into vectors.

    Parameters
    ----------
    info
        Description of the network.
    network
        The network without its classifier, or a function that makes it when it is needed.
    stored
        Description of the directory that the network was read from, see `Backbone`.
    """

    kind = "image"
    allows_bf16 = False

    def __init__(
        self,
        info: BackboneInfo,
        network: torch.nn.Module | partial[torch.nn.Module],
        stored: NetworkDescription | None = None,
    ) -> None:
        super().__init__(stored)
        self.info = info
        self._made = network

    @cached_property
    def network(self) -> torch.nn.Module:
        """The network without its classifier, with weights in float32."""
        return (self._made() if isinstance(self._made, partial) else self._made).eval()

    @classmethod
    def resolve(cls, name: str, *, weights_dir: Path, allow_untrained: bool, seed: int) -> ImageBackbone:
        """Find an image network and its weights by name. See `find_image_network` for the parameters and errors."""
        info, network = find_image_network(name, weights_dir=weights_dir, allow_untrained=allow_untrained, seed=seed)
        backbone = cls(info, network)
        if name in EMBEDDED:  # a user's own network keeps its vectors to the last digit
            backbone.round_weights()
        return backbone

    @classmethod
    def load(cls, directory: Path, info: BackboneInfo) -> ImageBackbone:
        """Load the network that `save` has written into `directory`. Weights are read only when they are needed.

        Raises
        ------
        UserError
            The description of the network cannot be read, see `NetworkDescription.read`.
        """
        return cls(info, partial(read_image_network, directory, info), NetworkDescription.read(directory))

    def _write(self, directory: Path) -> None:
        write_weights(self.network.state_dict(), directory / WEIGHTS)

    def save_for_timm(self, directory: Path) -> bool:
        """Write the weights in the form that AutoMM reads for fine-tuning. Return whether timm has this network."""
        return write_for_timm(self.network, self.info, directory)

    @property
    def encoder(self) -> ImageEncoder:
        """The function `encode`, with the size of the images that the network takes. See `Backbone.encoder`."""
        return ImageEncoder(self.encode, self.info.takes)

    def encode(self, cells: Sequence[np.ndarray]) -> np.ndarray:
        """Return a vector for each image, float32 (images, width). Images are RGB, uint8 (side, side, 3)."""
        if not cells:
            return np.empty((0, self.width), dtype=np.float32)
        size = _GPU_IMAGES if self.has_gpu else _CPU_IMAGES
        batches = [cells[start : start + size] for start in range(0, len(cells), size)]
        return np.concatenate(list(self._vectors(batches)))

    def _exportable(self, names: list[str]) -> torch.nn.Module:
        return _from_pixels(copy.deepcopy(self.network).cpu(), self.info.takes)

    def _fastest(self) -> torch.nn.Module:
        network = self.network if self.has_gpu else optimise_for_cpu(self.network)
        return _from_pixels(network, self.info.takes)

    def _probe(self) -> list[np.ndarray]:
        side = self.info.takes.side
        return list(np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8))

    def _inputs(self, cells: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {"pixels": np.stack(cells)}


def _from_pixels(network: torch.nn.Module, takes: ImageInput) -> torch.nn.Module:
    """Return a module that normalises pixels, uint8 (images, height, width, 3), and passes them to `network`."""
    import torch

    class FromPixels(torch.nn.Module):
        mean: torch.Tensor
        std: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.register_buffer("mean", 255 * torch.tensor(takes.mean).view(1, 3, 1, 1), persistent=False)
            self.register_buffer("std", 255 * torch.tensor(takes.std).view(1, 3, 1, 1), persistent=False)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            # Pixels have the order in which convolutions are fastest, so they are not copied.
            return self.network((pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std)

    return FromPixels()
