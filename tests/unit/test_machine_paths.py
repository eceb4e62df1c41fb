"""An artifact does not name the machine on which it was trained."""

from __future__ import annotations

import io
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def contents(archive: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.isfile():
                continue
            content = tar.extractfile(member).read()  # type: ignore[union-attr]
            yield member.name, content
            if member.name.endswith(".npz"):
                with zipfile.ZipFile(io.BytesIO(content)) as arrays:
                    yield from ((f"{member.name}/{name}", arrays.read(name)) for name in arrays.namelist())


@pytest.mark.fits
def test_no_file_of_an_artifact_names_a_directory_of_its_job(archive: Path) -> None:
    paths = [tempfile.gettempdir(), str(archive.parent), "multimodal-fit-", "multimodal-local-", "multimodal-train-"]
    named = {(name, path) for name, content in contents(archive) for path in paths if path.encode() in content}
    assert not named
