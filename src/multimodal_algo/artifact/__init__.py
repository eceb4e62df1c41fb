"""The model artifact: its layout, its description and the check of its files.

::

    model_config.json       the description, with the SHA-256 of every other file, written last
    text/  num/  cat/       the models of one branch each, see `predictors.ensemble`
    img/<column>/           the models of each image column
    table/  joint/          the models of several modalities, if the recipe has them
    text/backbone/<n>/      the text networks, see `networks.stored`
    img/backbone/           the image network, which all image columns share
    wholistic/              the fusion network, the calibration, and the prediction sets or intervals
    earlier/                branches of the previous model, if the job continued one
    rows.npy                hashes of the training rows
    sketches.npz            sketches of the columns, with which new rows are compared
    model_config.sig        signature of model_config.json, if training had a key
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeVar

from multimodal_algo.artifact.description import (
    CATEGORIES,
    CONFIG,
    CONFORMAL,
    FORMAT_VERSION,
    FUSION,
    IMAGE_BACKBONE,
    ROW_KEYS,
    SIGNATURE,
    SKETCHES,
    TEXT_BACKBONE,
    BackboneEntry,
    BranchEntry,
    ModelConfig,
    current_versions,
    parse_description,
)
from multimodal_algo.core.archive import is_of_desktop, log_left_out, open_archive
from multimodal_algo.core.disks import write_into
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.files import sha256
from multimodal_algo.core.forgetting import forget_paths
from multimodal_algo.sagemaker.settings import ml_paths
from multimodal_algo.sagemaker.signing import KEY_VARIABLE, is_signature, is_signing, signature_of

__all__ = [
    "CATEGORIES",
    "CONFIG",
    "CONFORMAL",
    "FORMAT_VERSION",
    "FUSION",
    "IMAGE_BACKBONE",
    "ROW_KEYS",
    "SIGNATURE",
    "SKETCHES",
    "TEXT_BACKBONE",
    "BackboneEntry",
    "BranchEntry",
    "ModelConfig",
    "archives_in",
    "artifact_at",
    "artifact_folder",
    "current_versions",
    "peek_description",
    "read_config",
    "read_description",
    "unpack_artifact",
    "write_artifact",
]

_INCOMPLETE = ".incomplete"
_SomePath = TypeVar("_SomePath", bound=PurePath)


def write_artifact(
    directory: Path, config: ModelConfig, write_files: Callable[[Path], None], private: Iterable[Path] = ()
) -> ModelConfig:
    """Write an artifact into `directory`, which may exist already and may be a mounted volume.

    Files are first written under temporary names and then renamed. ``model_config.json`` is renamed last, so an
    incomplete artifact cannot be loaded.

    Parameters
    ----------
    directory
        Model directory of the platform.
    config
        Description of the artifact. Its ``files`` are still empty.
    write_files
        Called with a directory, into which it writes all other files.
    private
        Paths of this machine that are removed from the files, in addition to `directory` and ``/opt/ml``.

    Returns
    -------
    ModelConfig
        The description with all ``files``.
    """
    staging = directory / _INCOMPLETE

    def write_all(target: Path) -> None:
        write_files(target)
        forget_paths(target, {directory, ml_paths(os.environ).base, *private})
        _write_description(target, config)

    write_into(staging, write_all, "the artifact", directory)
    complete = ModelConfig.model_validate_json((staging / CONFIG).read_bytes())
    for name in (CONFIG, SIGNATURE):
        (directory / name).unlink(missing_ok=True)
    for child in sorted(staging.iterdir(), key=lambda path: path.name == CONFIG):
        target = directory / child.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(child, target)
    staging.rmdir()
    return complete


def _write_description(directory: Path, config: ModelConfig) -> None:
    """Write the description of all files in `directory`.

    Also write its signature if the environment has a key for it.
    """
    paths = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    for path in paths:
        path.chmod(path.stat().st_mode | 0o444)  # safetensors lets the owner alone read, and another user may serve
    files = {path.relative_to(directory).as_posix(): sha256(path) for path in paths}
    content = (config.model_copy(update={"files": files}).model_dump_json(indent=2) + "\n").encode()
    (directory / CONFIG).write_bytes(content)
    if is_signing():
        (directory / SIGNATURE).write_text(signature_of(content) + "\n", encoding="utf-8")


def artifact_folder(directory: Path) -> Path:
    """Return the folder of the artifact: `directory` itself, or a folder below it that was packed into the archive.

    If there is no artifact at all, return `directory`.

    Raises
    ------
    UserError
        There are several artifacts next to each other.
    """
    if (directory / CONFIG).is_file():
        return directory
    return _only_folder((path for path in directory.rglob(CONFIG) if path.is_file()), directory) or directory


def _only_folder(descriptions: Iterable[_SomePath], location: Path) -> _SomePath | None:
    """Return the folder of the least nested description. Return None if there is no description."""
    folders = sorted(path.parent for path in descriptions)
    depth = min((len(folder.parts) for folder in folders), default=0)
    outermost = [folder for folder in folders if len(folder.parts) == depth]
    if len(outermost) > 1:
        first, second = (folder.name for folder in outermost[:2])
        raise UserError(f"{location}: the folders {first} and {second} hold one artifact each. Keep one.")
    return outermost[0] if outermost else None


def artifact_at(location: Path, scratch: Path) -> Path:
    """Return the folder of the artifact at `location`: an extracted artifact, an archive, or a directory with one.

    An archive is unpacked into `scratch`, which is created if it does not exist.

    Raises
    ------
    UserError
        There is no artifact or there are several, or see `unpack_artifact`.
    """
    if not location.is_dir():
        return unpack_artifact(location, scratch)
    folder = artifact_folder(location)
    if (folder / CONFIG).is_file():
        return folder
    archives = archives_in(location)
    if len(archives) != 1:
        names = ", ".join(path.name for path in archives[:5]) or "none"
        raise UserError(f"{location.name}: there must be one model.tar.gz, but there is {names}.")
    return unpack_artifact(archives[0], scratch)


def archives_in(location: Path) -> list[Path]:
    """Return the model archives in a directory and its subfolders, sorted."""
    return sorted(
        path
        for path in location.rglob("*")
        if path.name.endswith((".tar.gz", ".tgz")) and path.is_file() and not is_of_desktop(path)
    )


def unpack_artifact(archive: Path, directory: Path) -> Path:
    """Unpack a model archive into the new `directory`, and return the folder of the artifact there.

    The archive and its ``model_config.json`` are checked first. Files that ``model_config.json`` does not list are not
    unpacked.

    Raises
    ------
    UserError
        See `open_archive`, `Contents.extract` and `read_description`.
    """
    with open_archive(archive, CONFIG) as contents:
        folder = _only_folder(contents.read, archive)
        if folder is None:
            raise _incomplete(archive)
        config = parse_description(contents.read[folder / CONFIG], f"{archive.name}/{folder / CONFIG}")
        wanted = {folder / name for name in (CONFIG, SIGNATURE, *config.files)}
        contents.extract(directory, wanted)
        left_out = [*contents.left_out, *(path.as_posix() for path in contents.files if path not in wanted)]
    log_left_out(archive, left_out)
    return directory / folder


def read_config(directory: Path) -> ModelConfig:
    """Read the description of an artifact, and check its versions and the SHA-256 of all its files.

    Raises
    ------
    UserError
        There is no artifact, its format or a library has another version, or a file is missing or changed. Or the
        environment has a key, and the artifact is not signed with it.
    """
    config = read_description(directory)
    _check_files(directory, config)
    return config


def read_description(directory: Path) -> ModelConfig:
    """Read the description of an artifact, and check its versions. The artifact's other files are not read.

    Raises
    ------
    UserError
        There is no artifact, or its format or a library has another version. Or the environment has a key, and the
        description is not signed with it.
    """
    path = directory / CONFIG
    if not path.is_file():
        raise _incomplete(directory)
    content = path.read_bytes()
    if is_signing():
        _check_signature(directory, content)
    return parse_description(content, str(path))


def peek_description(location: Path) -> ModelConfig:
    """Return the description of an archive, or of the artifact in a directory. Nothing is unpacked or checked.

    Raises
    ------
    UserError
        There is no description.
    """
    if location.is_dir() and (path := artifact_folder(location) / CONFIG).is_file():
        return ModelConfig.model_validate_json(path.read_bytes())
    archives = archives_in(location) if location.is_dir() else [location]
    descriptions: dict[int, bytes] = {}
    with contextlib.suppress(tarfile.TarError, OSError, ValueError, IndexError):
        with tarfile.open(archives[0]) as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                is_description = name.name == CONFIG and not is_of_desktop(name)
                if is_description and (stream := tar.extractfile(member)) is not None:
                    descriptions.setdefault(len(name.parts), stream.read())
        if descriptions:  # the model may be in a folder
            return ModelConfig.model_validate_json(descriptions[min(descriptions)])
    raise UserError(f"{location}: this file is not the model.tar.gz of a training job.")


def _check_signature(directory: Path, content: bytes) -> None:
    path = directory / SIGNATURE
    if not path.is_file():
        raise UserError(f"{path}: the artifact is not signed, but {KEY_VARIABLE} is set. Train with the same key.")
    if not is_signature(path.read_text(encoding="utf-8", errors="replace"), content):
        raise UserError(
            f"{path}: the signature is not one by {KEY_VARIABLE}. The artifact was changed or signed with another key."
        )


def _incomplete(location: Path) -> UserError:
    return UserError(
        f"{location}: there is no {CONFIG}, so the artifact is not complete. Train again or check the archive."
    )


def _check_files(directory: Path, config: ModelConfig) -> None:
    for name, expected in config.files.items():
        path = directory / name
        if not path.is_file():
            raise UserError(f"The artifact is incomplete: {name} is missing. Download or train it again.")
        if sha256(path) != expected:
            raise UserError(f"The artifact is damaged: {name} is not what was written. Download or train it again.")
    if is_signing():
        _refuse_unsigned(directory, config)


def _refuse_unsigned(directory: Path, config: ModelConfig) -> None:
    """Raise an error if a signed artifact's folders hold files that its description does not list.

    The signature does not cover such files, but a library might read them.
    """
    for folder in {PurePosixPath(name).parts[0] for name in config.files if "/" in name}:
        for path in (directory / folder).rglob("*"):
            name = path.relative_to(directory).as_posix()
            if path.is_file() and name not in config.files:
                raise UserError(f"The artifact holds {name[:60]}, which its signature does not cover. Remove the file.")
