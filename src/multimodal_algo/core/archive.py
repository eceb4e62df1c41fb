"""Unpacks ``model.tar.gz`` safely: an archive may come from anywhere."""

from __future__ import annotations

import logging
import shutil
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePath, PurePosixPath

from multimodal_algo.core.errors import UserError

_LOG = logging.getLogger(__name__)

_MAX_FILES = 100_000
# Share of the free disk space that an archive may fill. An archive of zeros is small and must not fill the disk.
_DISK_SHARE = 0.9
# Files that desktops leave in folders. macOS writes a file ``._NAME`` next to every file that it packs.
_DESKTOP_FILES = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
_DESKTOP_FOLDER = "__MACOSX"


def is_of_desktop(name: PurePath) -> bool:
    """Whether a desktop system made a file for itself: ``._*``, ``.DS_Store``, ``__MACOSX`` and the like."""
    return name.name.startswith("._") or name.name.lower() in _DESKTOP_FILES or _DESKTOP_FOLDER in name.parts


def log_left_out(archive: Path, names: Sequence[str]) -> None:
    """Log the files of an archive that were not extracted, if there are any."""
    if names:
        _LOG.info(
            "%s: %d files that do not belong to a model are not extracted, for example %s",
            archive.name, len(names), names[0][:60],
        )  # fmt: skip


def unpack(archive: Path, directory: Path) -> list[str]:
    """Unpack a model archive into `directory`, which is made when missing.

    The archive may have files and folders, but no links, no devices and no paths outside of it. Files get the owner and
    the permissions of this process. These are the rules of the ``data`` filter of PEP 706, which the Python of Debian
    12 does not have.

    Returns
    -------
    list of str
        Names of the files that are left out, since a desktop system made them for itself, see `is_of_desktop`.

    Raises
    ------
    UserError
        The archive is damaged, breaks these rules, or is larger than the free disk space.
    """
    directory.mkdir(parents=True, exist_ok=True)
    free_bytes = int(_DISK_SHARE * shutil.disk_usage(directory).free)
    left_out = []
    try:
        with tarfile.open(archive) as tar:
            for number, member in enumerate(tar):
                free_bytes -= member.size
                if number >= _MAX_FILES or free_bytes < 0:
                    raise UserError(
                        f"{archive.name} is too large: the disk has no room to unpack it. Use a larger volume."
                    )
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise UserError(
                        f"{archive.name}: '{member.name[:60]}' lies outside the archive. "
                        "Use an archive of a training job."
                    )
                if is_of_desktop(name):
                    left_out += [] if member.isdir() else [member.name]
                else:
                    _write(tar, member, directory / name, archive.name)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        reason = str(error).split("\n")[0][:200]
        raise UserError(f"{archive} cannot be extracted as a model archive ({reason}).") from None
    return left_out


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, archive: str) -> None:
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    content = tar.extractfile(member) if member.isfile() else None
    if content is None:
        raise UserError(
            f"{archive}: '{member.name[:60]}' is neither a file nor a folder. Use an archive of a training job."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as stream:
        shutil.copyfileobj(content, stream)
