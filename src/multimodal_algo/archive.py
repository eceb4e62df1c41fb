"""Unpacking ``model.tar.gz``, which may come from anywhere."""

from __future__ import annotations

import shutil
import tarfile
import zlib
from pathlib import Path

from multimodal_algo.errors import UserError

_MOST_FILES = 100_000
# Of what is free on the disk: an archive of zeros must not fill it.
_DISK_SHARE = 0.9


def unpack(archive: Path, directory: Path) -> None:
    """Unpack a model archive into `directory`, which is made when missing.

    Only files and folders below `directory` are made (no links, devices or absolute paths: the ``data`` filter of
    PEP 706), and only as much as the disk holds.

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
                if not (member.isfile() or member.isdir()):
                    raise UserError(f"{archive.name}: '{member.name[:80]}' is neither a file nor a folder.")
                tar.extract(member, directory, filter="data")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        told = str(error).split("\n")[0][:200]
        raise UserError(f"{archive} cannot be extracted as a model archive ({told}).") from None
