"""The description of an image network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from multimodal_algo.ingest.image_input import IMAGENET, ImageInput


@dataclass(frozen=True)
class BackboneInfo:
    """Description of an image network, which the artifact stores.

    Parameters
    ----------
    architecture
        Library and name of the network: ``torchvision/<name>`` or ``timm/<name>``.
    source
        Where the weights come from: ``torchvision``, ``untrained``, or the name of a package or a file.
    pretrained
        Whether the weights are trained. Only quality ``toy`` accepts untrained weights.
    takes
        Size and form of the images that the network takes.
    settings
        What the library needs besides the name to build the network, as JSON.
    """

    architecture: str
    source: str
    pretrained: bool
    takes: ImageInput = IMAGENET
    settings: Mapping[str, Any] = field(default_factory=dict)
