"""Files and directories: hashes and moving."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path

from multimodal_algo.core.disks import free_bytes, size_of


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def move_files(source: Path, target: Path) -> None:
    """Move everything that is in directory `source` into the existing directory `target`.

    Raises
    ------
    OSError
        `target` is on another volume, which has not enough room. Nothing was moved.
    """
    if source.stat().st_dev != target.stat().st_dev and size_of(source) > free_bytes(target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
    for path in source.iterdir():
        shutil.move(path, target / path.name)
