"""Networks of a model hub, by their ids. They are downloaded once, into a folder named after the id."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from multimodal_algo.core.errors import MultimodalError

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_TIMEOUT_S = 10
# Files that networks are read from. Of the weights, only one form is needed.
_SMALL = (".json", ".txt", ".model")
_WEIGHTS = (r"model(-\d+-of-\d+)?\.safetensors", r"pytorch_model(-\d+-of-\d+)?\.bin")
_CHUNK = 1 << 20


class NotOnHub(MultimodalError):
    """A network cannot be had from the hub. The message is the reason, as a clause."""


def is_hub_id(name: str) -> bool:
    """Return whether a name is spelled as ids are, for example ``facebook/dinov2-small``."""
    return _ID.fullmatch(name) is not None


def download(name: str, directory: Path) -> Path:
    """Download a network into ``directory/name``, unless it is there, and return that folder.

    ``HF_ENDPOINT`` and ``HF_TOKEN`` are read from the environment, as by the hub's own clients.

    Raises
    ------
    NotOnHub
        The hub cannot be reached within 10 seconds, or does not have such a network.
    """
    import requests

    target = directory / name
    if (target / "config.json").is_file():
        return target
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with requests.Session() as session:
            if token := os.environ.get("HF_TOKEN"):
                session.headers["Authorization"] = f"Bearer {token}"
            answer = session.get(f"{endpoint}/api/models/{name}", timeout=_TIMEOUT_S)
            answer.raise_for_status()
            for file in _wanted([str(entry["rfilename"]) for entry in answer.json()["siblings"]]):
                _save(session, f"{endpoint}/{name}/resolve/main/{file}", partial / file)
    except (requests.RequestException, OSError, ValueError, KeyError, TypeError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise NotOnHub(f"{endpoint}: {type(error).__name__} for '{name}'") from None
    partial.rename(target)
    return target


def _wanted(files: list[str]) -> list[str]:
    """Return the names of the files that a network is read from, among all files of its repository."""
    safe = [file for file in files if ".." not in PurePosixPath(file).parts and not file.startswith("/")]
    forms = ([file for file in safe if re.fullmatch(form, PurePosixPath(file).name)] for form in _WEIGHTS)
    weights = next(filter(None, forms), [])
    if not weights or "config.json" not in safe:
        raise ValueError("no network")
    return [file for file in safe if file in weights or file.endswith(_SMALL)]


def _save(session: Any, url: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with session.get(url, timeout=_TIMEOUT_S, stream=True) as answer, path.open("wb") as stream:
        answer.raise_for_status()
        for chunk in answer.iter_content(_CHUNK):
            stream.write(chunk)
