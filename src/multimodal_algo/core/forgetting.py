"""Removes this machine's paths from files that are given to users."""

from __future__ import annotations

import mmap
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

# Formats in which other libraries write paths that they never read again.
_WITH_PATHS = frozenset({".pkl", ".json", ".yaml"})


def forget_paths(directory: Path, paths: Iterable[Path]) -> None:
    """Overwrite `paths` with slashes in the pickles, JSON and YAML files below `directory`.

    A pickle breaks if a text in it changes its length, so a path becomes as many slashes as it has bytes. The paths are
    where AutoGluon has fitted a model. AutoGluon does not read them again.

    Parameters
    ----------
    directory
        Directory of the files.
    paths
        Paths to remove. Temporary directories of this package are removed in any case.
    """
    temporary = re.escape(tempfile.gettempdir().encode()) + rb"/multimodal-[a-z]+-[a-z0-9_]{8}"
    known = sorted((re.escape(str(path).encode()) for path in paths), key=len, reverse=True)
    pattern = re.compile(b"|".join([temporary, *known]))
    for file in directory.rglob("*"):
        if file.suffix in _WITH_PATHS and file.is_file() and file.stat().st_size:
            _blank(file, pattern)


def _blank(file: Path, pattern: re.Pattern[bytes]) -> None:
    with file.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as content:
        for start, end in [match.span() for match in pattern.finditer(content)]:
            content[start:end] = b"/" * (end - start)
