"""Room on disks: what is free, and the sentence for a write that fails."""

from __future__ import annotations

import shutil
from pathlib import Path

from multimodal_algo.core.errors import UserError


def free_bytes(path: Path) -> int:
    """Return the free bytes of the volume of `path`, which need not exist."""
    return shutil.disk_usage(existing(path)).free


def existing(path: Path) -> Path:
    """Return `path`, or the nearest folder above it that exists."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


def require_room(directory: Path, size: int, what: str) -> None:
    """Refuse to write `size` bytes below `directory` where the volume has less room.

    Parameters
    ----------
    directory
        Directory of the files. It need not exist.
    size
        Bytes to write.
    what
        Noun for what is written, for the message.

    Raises
    ------
    UserError
        There is less room. The message names the directory, the bytes needed, and those that are missing.
    """
    missing = size - free_bytes(directory)
    if missing > 0:
        raise UserError(
            f"{directory}: {what} needs {_mb(size)}, and {_mb(missing)} of that are missing. Use a larger volume."
        )


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
