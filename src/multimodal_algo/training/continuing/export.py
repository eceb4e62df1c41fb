"""The networks of an artifact, as start for other tasks.

::

    text/     a sentence-transformers model directory
    image/    weights.safetensors, and backbone.json with architecture and source
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from multimodal_algo.artifact import CONFIG, GRAPH, IMAGE_BACKBONE, TEXT_BACKBONE, ModelConfig
from multimodal_algo.config.recipes import Branch
from multimodal_algo.core.archive import unpack
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import Modality
from multimodal_algo.training.continuing.previous import find_artifact

_FOLDERS = {Modality.TEXT: "text", Modality.IMAGE: "image"}
_SIGNS = {Modality.TEXT: "config.json", Modality.IMAGE: "backbone.json"}

Networks = Mapping[Modality, Path]
"""Directories of networks, as ``text_backbone`` and ``image_backbone`` take them."""


def export_backbones(model: Path, output: Path) -> list[str]:
    """Write the networks of an artifact, fine-tuned ones where it has them (``multimodal-algo export-backbones``).

    Parameters
    ----------
    model
        ``model.tar.gz``, or a directory with one or an extracted one.
    output
        Directory, made when missing.

    Returns
    -------
    list of str
        What was written, and how to use it.

    Raises
    ------
    UserError
        There is no whole artifact, or it has neither texts nor images.
    """
    with tempfile.TemporaryDirectory(prefix="multimodal-export-") as scratch:
        directory, config = find_artifact(model, Path(scratch))
        found = write_networks(directory, config, output, tuned=True)
    if not found:
        raise UserError(f"{model} has neither text nor image columns, so there is no network in it.")
    return [f"{modality.value}_backbone={path.absolute()}" for modality, path in found.items()]


def write_networks(directory: Path, config: ModelConfig, output: Path, *, tuned: bool) -> Networks:
    """Write the networks of the artifact in `directory` below `output`.

    Parameters
    ----------
    directory, config
        Of the artifact.
    output
        Directory, made when missing.
    tuned
        Whether fine-tuned networks stand in for the frozen ones.
    """
    if config.schema_.of(Modality.TEXT):
        _write_text(directory, output / _FOLDERS[Modality.TEXT])
    if config.image_backbone is not None:
        image = output / _FOLDERS[Modality.IMAGE]
        image.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(directory / IMAGE_BACKBONE / "weights.safetensors", image / "weights.safetensors")
        (image / _SIGNS[Modality.IMAGE]).write_text(config.image_backbone.model_dump_json() + "\n", encoding="utf-8")
    if tuned:
        _write_tuned(directory, config, output)
    return find_networks(output)


def _write_text(directory: Path, target: Path) -> None:
    shutil.copytree(directory / TEXT_BACKBONE, target, ignore=shutil.ignore_patterns(GRAPH), dirs_exist_ok=True)


def _write_tuned(directory: Path, config: ModelConfig, output: Path) -> None:
    from multimodal_algo.predictors.finetune.predictor import FineTunedPredictor

    done = set()
    for entry in config.branches:
        if entry.branch not in (Branch.TEXT_FINE_TUNED, Branch.IMAGE_FINE_TUNED) or entry.branch in done:
            continue
        done.add(entry.branch)
        folder = _FOLDERS[Modality.TEXT if entry.branch == Branch.TEXT_FINE_TUNED else Modality.IMAGE]
        shutil.rmtree(output / folder, ignore_errors=True)
        FineTunedPredictor.load(directory / entry.name).save_networks(output)


def find_networks(directory: Path) -> Networks:
    """Those that `directory` holds."""
    return {
        modality: directory / folder
        for modality, folder in _FOLDERS.items()
        if (directory / folder / _SIGNS[modality]).is_file()
    }


def pretrained_networks(location: Path, scratch: Path) -> Networks:
    """The networks of the ``pretrained`` channel: exported ones, an archive of such, or an artifact.

    Parameters
    ----------
    location
        The channel's directory.
    scratch
        Directory for what is unpacked.

    Raises
    ------
    UserError
        There is none of these.
    """
    if not (location / CONFIG).is_file():
        if found := find_networks(location):
            return found
        archives = sorted(path for path in location.rglob("*.tar.gz") if path.is_file())
        if len(archives) != 1:
            raise UserError(
                f"{location.name}: there are no networks. Put what multimodal-algo export-backbones wrote there "
                "(text/ and image/, or a tar.gz of them), or a model.tar.gz."
            )
        unpack(archives[0], scratch / "unpacked")
        if not (scratch / "unpacked" / CONFIG).is_file():
            found = find_networks(scratch / "unpacked")
            if not found:
                raise UserError(f"{location.name}: {archives[0].name} holds neither networks nor a model.")
            return found
    directory, config = find_artifact(
        location if (location / CONFIG).is_file() else scratch / "unpacked", scratch / "artifact"
    )
    return write_networks(directory, config, scratch / "networks", tuned=True)
