"""Downloads networks from the Hugging Face hub by their ids, with the hub's own client."""

from __future__ import annotations

import logging
import os
import re
import shutil
from pathlib import Path

from multimodal_algo.core.errors import MultimodalError

_LOG = logging.getLogger(__name__)

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_TIMEOUT_S = 10
# Files that networks are read from, in any folder. Of the weights, only one form is needed.
_SMALL = ("*.json", "*.txt", "*.model")
_FORMS = (("model.safetensors", "model-*-of-*.safetensors"), ("pytorch_model.bin", "pytorch_model-*-of-*.bin"))


class NotOnHub(MultimodalError):
    """Raised if a network cannot be downloaded from the hub. The message is the reason, as part of a sentence."""


def is_hub_id(name: str) -> bool:
    """Return whether a name has the form of an id on the hub, for example ``facebook/dinov2-small``."""
    return _ID.fullmatch(name) is not None


def download(name: str, directory: Path) -> Path:
    """Download a network into the folder ``directory/name``, unless it is there already. Return this folder.

    Raises
    ------
    NotOnHub
        The network cannot be downloaded, see `snapshot`.
    """
    target = directory / name
    if (target / "config.json").is_file():
        return target
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(snapshot(name), partial)
    partial.rename(target)
    return target


def snapshot(name: str) -> Path:
    """Return the folder of a network in the client's cache. Download the network into the cache first, if possible.

    ``HF_ENDPOINT``, ``HF_TOKEN`` and ``HF_HOME`` are read from the environment, as the client always does.

    Raises
    ------
    NotOnHub
        The cache does not have the network. The hub does not have it either, or cannot be reached within 10 seconds.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # they would be lines of the log
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    try:
        for form in _FORMS:
            patterns = [*_SMALL, *form, *(f"*/{file}" for file in form)]
            folder = Path(snapshot_download(name, allow_patterns=patterns, endpoint=endpoint, etag_timeout=_TIMEOUT_S))
            if (folder / "config.json").is_file() and any(next(folder.rglob(file), None) for file in form):
                _LOG.info("%s: from the hub", name)
                return folder
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise NotOnHub(f"{endpoint}: {type(error).__name__} for '{name}'") from None
    raise NotOnHub(f"{endpoint}: '{name}' does not have a config.json and weights")
