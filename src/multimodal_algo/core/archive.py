"""Unpacking ``model.tar.gz``, which may come from anywhere."""

from __future__ import annotations

import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from multimodal_algo.core.errors import UserError

_MOST_FILES = 100_000
# Of what is free on the disk: an archive of zeros must not fill it.
_DISK_SHARE = 0.9


def unpack(archive: Path, directory: Path) -> None:
    """Unpack a model archive into `directory`, which is made when missing.

    Only files and folders below `directory` are made (no links, devices or paths that lead elsewhere), with this
    process's own owner and permissions, and only as much as the disk holds. It does what the ``data`` filter of PEP 706
    does, which Debian 12's Python does not have.

    Raises
    ------
    UserError
        It is no whole archive, or one of those.
    """
    directory.mkdir(parents=True, exist_ok=True)
    left = int(_DISK_SHARE * shutil.disk_usage(directory).free)
    try:
        with tarfile.open(archive) as tar:
            for number, member in enumerate(tar):
                left -= member.size
                if number >= _MOST_FILES or left < 0:
                    raise UserError(f"{archive.name} is too large to be unpacked: it holds more than the disk has.")
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise UserError(f"{archive.name}: '{member.name[:80]}' lies outside the archive.")
                _write(tar, member, directory / name, archive.name)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        told = str(error).split("\n")[0][:200]
        raise UserError(f"{archive} cannot be extracted as a model archive ({told}).") from None


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, archive: str) -> None:
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    content = tar.extractfile(member) if member.isfile() else None
    if content is None:
        raise UserError(f"{archive}: '{member.name[:80]}' is neither a file nor a folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as stream:
        shutil.copyfileobj(content, stream)
