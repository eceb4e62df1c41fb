"""Writes files of the tools: a file appears only when it is complete, and every reader understands its CSV."""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO


@contextlib.contextmanager
def complete_file(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, as a context. At its end, the file is renamed to `path`."""
    partial = path.with_name(path.name + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def complete_text(path: Path) -> Iterator[TextIO]:
    """Open a text file, which appears as `path` when it is complete. It is packed if its name ends in ``.gz``."""
    with complete_file(path) as partial:
        if path.suffix == ".gz":
            with gzip.open(partial, "wt", compresslevel=6, encoding="utf-8", newline="") as stream:
                yield stream
        else:
            with partial.open("w", encoding="utf-8", newline="") as stream:
                yield stream


def csv_record(cells: Sequence[str], delimiter: str = ",") -> str:
    """Return a row of CSV with its newline."""
    # csv.writer takes a hundred times as long for images. It also does not quote carriage returns if lines end
    # without them. A record of one empty cell is quoted, because it would be a blank line otherwise.
    return (delimiter.join(_quoted(cell, delimiter) for cell in cells) or '""') + "\n"


def _quoted(cell: str, delimiter: str) -> str:
    if delimiter in cell or any(special in cell for special in '"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell
