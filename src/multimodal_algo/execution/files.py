"""Files of work items as arrays of bytes, in which form they travel between hosts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np


def read_files(directory: Path) -> dict[str, np.ndarray]:
    """Read all files below `directory`. Return the bytes of each file, uint8, under its relative path.

    The bytes stay readable when the files are removed.
    """
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): _mapped(path) for path in paths}


def write_files(files: Mapping[str, np.ndarray], directory: Path) -> None:
    """Write files that `read_files` has returned into `directory`, which is made when missing."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content.tofile(path)


def _mapped(path: Path) -> np.ndarray:
    # A mapped file goes into Ray's store without a copy in memory. An empty file cannot be mapped.
    return np.asarray(np.memmap(path, np.uint8, "r")) if path.stat().st_size else np.empty(0, np.uint8)
