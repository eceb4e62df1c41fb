"""The export of an artifact's networks, so that other jobs can start from them.

::

    text/     a directory as `TextBackbone.save` writes it, or numbered folders of several
    image/    weights.safetensors, and backbone.json with architecture and source
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from multimodal_algo.artifact import CONFIG, IMAGE_BACKBONE, TEXT_BACKBONE, ModelConfig, archives_in, artifact_folder
from multimodal_algo.branches.registry import FINE_TUNED
from multimodal_algo.config.recipes import Branch
from multimodal_algo.core.archive import log_left_out, unpack
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import Modality
from multimodal_algo.networks.stored import GRAPH
from multimodal_algo.training.continuing.previous import find_artifact

_IMAGE_DESCRIPTION = "backbone.json"
_FOLDERS = {Modality.TEXT: "text", Modality.IMAGE: "image"}
_SIGNS = {
    Modality.TEXT: ("0/network.json", "network.json", "config.json", "modules.json"),
    Modality.IMAGE: (_IMAGE_DESCRIPTION, "config.json"),
}

Networks = Mapping[Modality, Path]
"""Directories of networks by modality, as ``text_backbone`` and ``image_backbone`` take them."""


def export_backbones(model: Path, output: Path) -> list[str]:
    """Write the networks of an artifact, for the command ``multimodal-algo export-backbones``.

    If a network was fine-tuned, it is written instead of the frozen network of the same modality.

    Parameters
    ----------
    model
        ``model.tar.gz``, a directory that holds one, or an extracted artifact.
    output
        Directory for the networks. It is created if it does not exist.

    Returns
    -------
    list of str
        For each network, the hyperparameter with which another job uses it, for example ``text_backbone=<directory>``.

    Raises
    ------
    UserError
        The artifact is missing or incomplete, or it has neither text nor image columns.
    """
    with tempfile.TemporaryDirectory(prefix="multimodal-export-") as scratch:
        directory, config = find_artifact(model, Path(scratch))
        networks = write_networks(directory, config, output, fine_tuned=True)
    if not networks:
        raise UserError(f"{model} has neither text nor image columns, so it holds no networks.")
    return [f"{modality.value}_backbone={path.absolute()}" for modality, path in networks.items()]


def write_networks(directory: Path, config: ModelConfig, output: Path, *, fine_tuned: bool) -> Networks:
    """Write the networks of the artifact in `directory` into folders of `output`, and return these folders.

    Parameters
    ----------
    directory, config
        Directory and description of the artifact.
    output
        Directory for the networks. It is created if it does not exist.
    fine_tuned
        Whether a fine-tuned network is written instead of the frozen network of the same modality.
    """
    if config.schema_.of(Modality.TEXT):
        _write_text(directory, output / _FOLDERS[Modality.TEXT])
    if config.image_backbone is not None:
        image = output / _FOLDERS[Modality.IMAGE]
        image.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(directory / IMAGE_BACKBONE / "weights.safetensors", image / "weights.safetensors")
        (image / _IMAGE_DESCRIPTION).write_text(config.image_backbone.model_dump_json() + "\n", encoding="utf-8")
    if fine_tuned:
        _write_fine_tuned(directory, config, output)
    return find_networks(output)


def _write_text(directory: Path, target: Path) -> None:
    shutil.copytree(directory / TEXT_BACKBONE, target, ignore=shutil.ignore_patterns(GRAPH), dirs_exist_ok=True)


def _write_fine_tuned(directory: Path, config: ModelConfig, output: Path) -> None:
    from multimodal_algo.predictors.finetune.predictor import FineTunedPredictor

    written = set()
    for entry in config.branches:
        networks = FINE_TUNED.get(Branch(entry.branch), ())
        if len(networks) != 1 or entry.branch in written:
            continue
        written.add(entry.branch)
        folder = _FOLDERS[networks[0]]
        shutil.rmtree(output / folder, ignore_errors=True)
        FineTunedPredictor.load(directory / entry.name).save_networks(output)
    _keep_image_input(config, output / _FOLDERS[Modality.IMAGE] / _IMAGE_DESCRIPTION)


def _keep_image_input(config: ModelConfig, sign: Path) -> None:
    """Make a fine-tuned image network take images of the frozen network's size, as its training images had.

    `sign` is the file that describes the fine-tuned network.
    """
    if config.image_backbone is not None and sign.is_file():
        takes = config.image_backbone.model_dump(include={"takes"})
        content = {**json.loads(sign.read_text(encoding="utf-8")), **takes}
        sign.write_text(json.dumps(content) + "\n", encoding="utf-8")


def find_networks(directory: Path) -> Networks:
    """Return the networks in `directory`, by modality: its folders ``text`` and ``image``."""
    return {
        modality: directory / folder
        for modality, folder in _FOLDERS.items()
        if any((directory / folder / sign).is_file() for sign in _SIGNS[modality])
    }


def _networks_below(directory: Path) -> Networks:
    """Return the networks in `directory` or in one of its folders. Some archives have a folder around the networks."""
    folders = [directory, *sorted(path for path in directory.iterdir() if path.is_dir())]
    return next((networks for folder in folders if (networks := find_networks(folder))), {})


def pretrained_networks(location: Path, scratch: Path) -> Networks:
    """Return the networks that the user gave in the input ``pretrained``, from which the job starts.

    Parameters
    ----------
    location
        Directory of the channel.
    scratch
        Directory for an unpacked archive.

    Raises
    ------
    UserError
        The channel holds nothing of this kind.
    """
    folder = artifact_folder(location)
    if not (folder / CONFIG).is_file():
        if networks := _networks_below(location):
            return networks
        archives = archives_in(location)
        if len(archives) != 1:
            raise UserError(
                f"{location.name}: there are no networks. Put what multimodal-algo export-backbones wrote there "
                "(text/ and image/, or a tar.gz of them), or a model.tar.gz."
            )
        log_left_out(archives[0], unpack(archives[0], scratch / "unpacked"))
        folder = artifact_folder(scratch / "unpacked")
        if not (folder / CONFIG).is_file():
            networks = _networks_below(scratch / "unpacked")
            if not networks:
                raise UserError(f"{location.name}: {archives[0].name} holds neither networks nor a model.")
            return networks
    directory, config = find_artifact(folder, scratch / "artifact")
    return write_networks(directory, config, scratch / "networks", fine_tuned=True)
