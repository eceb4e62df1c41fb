"""Finds text networks: by a name, in a directory, or on the Hugging Face hub."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from pathlib import Path

from multimodal_algo.core.errors import UserError
from multimodal_algo.networks.hub import NotOnHub, download, is_hub_id
from multimodal_algo.networks.texts.library import EMBEDDED, read_embedded
from multimodal_algo.networks.texts.network import EXPECTED, TextNetwork

_FILES = ("config.json", "modules.json")


def find_text_network(name: str, weights_dir: Path | None = None) -> TextNetwork:
    """Return the text network that a name means.

    Parameters
    ----------
    name
        One of `EMBEDDED`, a directory of transformers or sentence-transformers, here or in `weights_dir`, or the id of
        a network on the hub.
    weights_dir
        Directory with the weights that are built into the container image. None to leave it out.

    Raises
    ------
    UserError
        There is no such network, or it cannot be read.
    """
    if name in EMBEDDED:
        return read_embedded(name)
    directory = Path(name)
    for folder in (directory, *([] if weights_dir is None else [weights_dir / name])):
        if any((folder / file).is_file() for file in _FILES):
            return _read(folder, name)
    if is_hub_id(name) and not directory.exists():
        return _read(_downloaded(name), name)
    problem = "has neither network.json nor config.json" if directory.is_dir() else "is not a directory"
    known = ", ".join(EMBEDDED)
    raise UserError(f"text_backbone: '{name[:60]}' {problem}, and not one of {known}. Name one of them, or {EXPECTED}.")


def _read(directory: Path, name: str) -> TextNetwork:
    from multimodal_algo.networks.texts.directories import read_directory

    return read_directory(directory, name)


def _downloaded(name: str) -> Path:
    """Download a network from the hub and return its directory.

    The directory stays until this process ends, because weights are only read when they are needed.
    """
    directory = Path(tempfile.mkdtemp(prefix="multimodal-hub-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    try:
        return download(name, directory)
    except NotOnHub as error:
        raise UserError(
            f"text_backbone: there is no directory '{name[:60]}', and the hub does not give such a network ({error}). "
            f"Bake it into the image by make weights, give the path of a network, or name one of {', '.join(EMBEDDED)}."
        ) from None


def find_text_networks(names: str) -> list[str]:
    """Split a list of text networks, the value of ``text_backbone``, into their names.

    Parameters
    ----------
    names
        Names separated by commas, or a JSON list. A directory with numbered folders, as an artifact has it, means the
        networks in all these folders.

    Raises
    ------
    UserError
        The list is empty or not valid, or has a network twice.
    """
    listed = [part for name in _listed(names) for part in _numbered(name)]
    if not listed:
        raise UserError(f"text_backbone is '{names[:60]}', which names no network. Name one of {', '.join(EMBEDDED)}.")
    if repeated := next((name for name in listed if listed.count(name) > 1), None):
        raise UserError(f"text_backbone names '{repeated[:60]}' twice. Name it once.")
    return listed


def _listed(names: str) -> list[str]:
    if Path(names).is_dir():
        return [names]
    if not names.lstrip().startswith("["):
        return [name.strip() for name in names.split(",") if name.strip()]
    try:
        values = json.loads(names)
    except ValueError:
        values = None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise UserError(
            f"text_backbone is '{names[:60]}', which is not a JSON list of names. Write them with commas, for example "
            f"{', '.join(list(EMBEDDED)[:2])}."
        )
    return [value.strip() for value in values]


def _numbered(name: str) -> list[str]:
    """Return the numbered folders of the directory `name`, in order. If it has none, return `name` itself."""
    folders = [path for path in Path(name).glob("*") if path.name.isdecimal() and path.is_dir()]
    return [str(path) for path in sorted(folders, key=lambda path: int(path.name))] or [name]
