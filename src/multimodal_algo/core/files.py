"""Files and directories: hashes and moving."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def move_files(source: Path, target: Path) -> None:
    """Move everything from one directory into another, which exists."""
    for path in source.iterdir():
        shutil.move(path, target / path.name)
