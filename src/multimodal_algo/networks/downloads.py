"""Downloads networks into a folder, for a container image or for a machine without internet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from multimodal_algo.core.errors import UserError
from multimodal_algo.networks.hub import NotOnHub, download
from multimodal_algo.networks.timm_networks import hub_id_of
from multimodal_algo.networks.torchvision_networks import torchvision_names


def download_networks(names: Sequence[str], output: Path) -> list[Path]:
    """Download networks into a folder. ``image_backbone`` and ``text_backbone`` then find them there by name.

    Parameters
    ----------
    names
        Names of networks in torchvision or timm, or ids on the Hugging Face hub.
    output
        Folder for the networks, made when missing.

    Returns
    -------
    list of Path
        The file or folder of each network.

    Raises
    ------
    UserError
        A network cannot be downloaded.
    """
    output.mkdir(parents=True, exist_ok=True)
    try:
        return [_download(name, output) for name in names]
    except (OSError, NotOnHub) as error:
        raise UserError(
            f"A network cannot be downloaded ({str(error)[:150]}). Check its name and the network."
        ) from None


def _download(name: str, output: Path) -> Path:
    if name in torchvision_names():
        return _download_from_torchvision(name, output)
    path, target = output / hub_id_of(name), output / name
    if target.is_dir():
        return target
    return download(hub_id_of(name), output).rename(target) if path != target else download(name, output)


def _download_from_torchvision(name: str, output: Path) -> Path:
    import torch
    import torchvision

    url = torchvision.models.get_model_weights(name).DEFAULT.url
    path = output / url.rpartition("/")[2]
    if not path.is_file():
        # torchvision names a file by its hash.
        prefix = path.stem.rpartition("-")[2]
        torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=False)
    return path
