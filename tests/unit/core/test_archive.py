"""Archives that somebody made to fill disks and memory, or to break the reader: refused before anything is unpacked."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from multimodal_algo.core.archive import unpack
from multimodal_algo.core.errors import UserError


def member(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size, found.type = size, kind
    return found


def headers(*members: tarfile.TarInfo) -> Callable[[tarfile.TarFile], None]:
    """Headers of members without their content."""

    def write(tar: tarfile.TarFile) -> None:
        for each in members:
            tar.fileobj.write(each.tobuf(tarfile.GNU_FORMAT))  # type: ignore[union-attr]

    return write


def sparse(tar: tarfile.TarFile) -> None:
    """A file of 20 GB in a few bytes: GNU's format of sparse files, version 1.0, as tar writes it with --sparse."""
    names = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(20 * 10**9)}
    entry = member("text/huge", 512)
    entry.pax_headers = names
    tar.addfile(entry, io.BytesIO(b"1\n0\n0\n".ljust(512, b"\0")))


def zeros(tar: tarfile.TarFile) -> None:
    size = 110_000_000
    tar.addfile(member("text/zeros", size), io.BytesIO(bytes(size)))


ATTACKS = {
    "many files": (headers(*(member(f"f{n}") for n in range(10_001))), "holds more than 10,000 files"),
    "sparse": (sparse, "'text/huge' is a sparse file of 20,000 MB"),
    "old sparse": (headers(member("huge", 0, tarfile.GNUTYPE_SPARSE)), "is a sparse file"),
    "nested": (headers(member("/".join(["d"] * 1500), 0, tarfile.DIRTYPE)), "folders deep"),
    "twice": (headers(member("a/b"), member("./a//b")), "occurs twice, or is a file and a folder"),
    "file as folder": (headers(member("a"), member("a/b")), "occurs twice, or is a file and a folder"),
    "folder as file": (headers(member("a/b"), member("a")), "occurs twice, or is a file and a folder"),
    "long header": (headers(member("x", 1 << 40, tarfile.XHDTYPE)), "has a header of 1099511627776 bytes"),
    "headers of headers": (
        headers(*(member("././@LongLink", 0, tarfile.GNUTYPE_LONGNAME) for _ in range(3000))),
        "cannot be extracted as a model archive",
    ),
    "zeros": (zeros, "unpack to more than 200 times its size"),
    "petabyte": (headers(member("zeros", 1 << 50)), "unpack to more than 200 times its size"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_archive_is_refused_before_anything_is_unpacked(tmp_path: Path, attack: str) -> None:
    write, reason = ATTACKS[attack]
    archive, target = tmp_path / "model.tar.gz", tmp_path / "there"
    with tarfile.open(archive, "w:gz", format=tarfile.PAX_FORMAT, compresslevel=1) as tar:
        tar.addfile(member("first", 3), io.BytesIO(b"abc"))
        write(tar)
    with pytest.raises(UserError) as error:
        unpack(archive, target)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(target.iterdir())


def test_an_archive_that_the_volume_has_no_room_for_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    archive, size = tmp_path / "model.tar", 1 << 42
    with archive.open("wb") as stream:
        stream.write(member("weights", size).tobuf(tarfile.GNU_FORMAT))
        stream.truncate(512 + size + 1024)  # a hole in the file, which takes no room
    with pytest.raises(UserError, match=r"the content of model.tar needs 4,398,046.5 MB, and [\d,.]+ MB of that are"):
        unpack(archive, tmp_path / "there")
    assert not list((tmp_path / "there").iterdir())
