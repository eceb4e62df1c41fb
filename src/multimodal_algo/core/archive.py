"""Unpacks ``model.tar.gz`` safely: an archive may come from anywhere.

The whole archive is checked before anything of it is written.
"""

from __future__ import annotations

import errno
import logging
import shutil
import tarfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath

from multimodal_algo.core.disks import require_room
from multimodal_algo.core.errors import UserError, first_line

_LOG = logging.getLogger(__name__)

# An artifact has a few dozen files, and a few for each image column. A network has a few more.
_MAX_MEMBERS = 10_000
_MAX_DEPTH = 32
_MAX_NAME = 1_000
# Longest extended header, which tarfile reads into memory. Those that programs write have a few hundred bytes.
_MAX_EXTENSION = 1 << 20
_EXTENSIONS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
# The description of an artifact has a few kB, and more with 100,000 classes.
_MAX_READ = 64_000_000
# Weights and trees are never so much smaller in an archive. Zeros are, up to 1,030 times.
_MAX_RATIO = 200
_ANY_RATIO = 100_000_000
_GZIP = b"\x1f\x8b"
_OURS = "Use an archive of a training job."
# Files that desktops leave in folders. macOS writes a file ``._NAME`` next to every file that it packs.
_DESKTOP_FILES = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
_DESKTOP_FOLDER = "__MACOSX"


def is_of_desktop(name: PurePath) -> bool:
    """Return whether a desktop system made the file for itself: ``._*``, ``.DS_Store``, ``__MACOSX`` and the like."""
    return name.name.startswith("._") or name.name.lower() in _DESKTOP_FILES or _DESKTOP_FOLDER in name.parts


def log_left_out(archive: Path, names: Sequence[str]) -> None:
    """Log the files of an archive that were not extracted, if there are any."""
    if names:
        _LOG.info(
            "%s: %d files that do not belong to a model are not extracted, for example %s",
            archive.name, len(names), names[0][:60],
        )  # fmt: skip


@dataclass(frozen=True)
class Contents:
    """The files of a checked archive that may be extracted.

    Parameters
    ----------
    archive
        The open archive.
    files
        Members of the archive that may be extracted, by their path.
    left_out
        Names of the files that a desktop system made for itself, see `is_of_desktop`.
    read
        Content of the files whose name the caller asked for, by their path.
    """

    archive: tarfile.TarFile
    files: dict[PurePosixPath, tarfile.TarInfo] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    read: dict[PurePosixPath, bytes] = field(default_factory=dict)

    def extract(self, directory: Path, wanted: Collection[PurePosixPath]) -> None:
        """Extract the `wanted` files into `directory`. The user of this process owns them.

        Raises
        ------
        UserError
            The disk has no room for these files.
        """
        members = [(path, member) for path, member in self.files.items() if path in wanted]
        size = sum(member.size for _, member in members)
        require_room(directory, size, f"the content of {Path(str(self.archive.name)).name}")
        for path, member in members:
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            content = self.archive.extractfile(member)
            assert content is not None  # it is a file
            with target.open("wb") as stream:
                shutil.copyfileobj(content, stream)


def unpack(archive: Path, directory: Path) -> list[str]:
    """Unpack a model archive into `directory`, which is made when missing.

    Returns
    -------
    list of str
        Names of the files that are left out, since a desktop system made them for itself, see `is_of_desktop`.

    Raises
    ------
    UserError
        See `open_archive` and `Contents.extract`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with open_archive(archive) as contents:
        contents.extract(directory, contents.files)
        return contents.left_out


@contextmanager
def open_archive(archive: Path, read: str = "") -> Iterator[Contents]:
    """Check a model archive before anything of it is extracted, and give the files that may be.

    Allowed are files and folders, but no links, no devices and no paths that lead outside. These are the rules of the
    ``data`` filter of PEP 706, which the Python of Debian 12 does not have. An archive also has at most 10,000 members
    in at most 32 nested folders, no sparse files and no path twice. Unpacked, it is at most 200 times its size.

    Parameters
    ----------
    archive
        Path of the archive, with gzip or without.
    read
        Name of a file whose content is read into memory.

    Raises
    ------
    UserError
        The archive is damaged, or breaks these rules.
    """
    try:
        with archive.open("rb") as stream:
            is_gzip = stream.read(2) == _GZIP
        with tarfile.open(archive, "r:gz" if is_gzip else "r:", tarinfo=_Member) as tar:
            contents = Contents(tar)
            _Check(archive, contents, read).run()
            yield contents
    except (tarfile.TarError, EOFError, zlib.error, RecursionError, ValueError) as error:
        raise _unreadable(archive, error) from None
    except OSError as error:
        # gzip raises errors without a number. A member that reaches beyond what files can hold is an invalid argument.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise _unreadable(archive, error) from None


def _unreadable(archive: Path, error: Exception) -> UserError:
    return UserError(f"{archive} cannot be extracted as a model archive ({first_line(error, 200)}).")


class _Member(tarfile.TarInfo):
    """A member of an archive. A member with a very large header is refused, because headers are read into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        """Parse a header as `tarfile.TarInfo.frombuf` does. Refuse a header that is larger than any model needs."""
        member = super().frombuf(buf, encoding, errors)
        if member.size < 0 or (member.type in _EXTENSIONS and member.size > _MAX_EXTENSION):
            raise UserError(f"The archive has a header of {member.size} bytes, and is not one of a model. {_OURS}")
        return member


class _Check:
    """The check of an archive: each member is checked before its content is read."""

    def __init__(self, archive: Path, contents: Contents, read: str) -> None:
        self._archive, self._contents, self._read = archive, contents, read
        self._folders = {PurePosixPath()}
        self._size = 0

    def run(self) -> None:
        for number, member in enumerate(self._contents.archive):
            if number >= _MAX_MEMBERS:
                raise self._refusal(f"it holds more than {_MAX_MEMBERS:,} files and folders")
            path = PurePosixPath(member.name)
            self._check_path(path, member.name)
            self._check_kind(member)
            if not is_of_desktop(path):
                self._take(path, member)
            elif not member.isdir():
                self._contents.left_out.append(member.name)

    def _check_path(self, path: PurePosixPath, name: str) -> None:
        if path.is_absolute() or ".." in path.parts:
            raise self._refusal(f"'{name[:60]}' lies outside the archive")
        if len(path.parts) > _MAX_DEPTH or len(name) > _MAX_NAME or "\0" in name:
            raise self._refusal(f"'{name[:60]}…' is {len(path.parts)} folders deep, or its name is too long")

    def _check_kind(self, member: tarfile.TarInfo) -> None:
        name = member.name[:60]
        if not (member.isdir() or member.isfile()):
            raise self._refusal(f"'{name}' is neither a file nor a folder")
        if member.issparse():
            raise self._refusal(f"'{name}' is a sparse file of {member.size / 1e6:,.0f} MB")
        self._size += member.size
        if self._size > _ANY_RATIO and self._size > _MAX_RATIO * self._archive.stat().st_size:
            raise self._refusal(f"'{name}' makes it unpack to more than {_MAX_RATIO} times its size, as no model does")

    def _take(self, path: PurePosixPath, member: tarfile.TarInfo) -> None:
        files, folders = self._contents.files, self._folders
        above = {path, *path.parents} if member.isdir() else {*path.parents}
        if (path in folders and not member.isdir()) or any(each in files for each in (path, *path.parents)):
            raise self._refusal(f"'{member.name[:60]}' occurs twice, or is a file and a folder")
        folders |= above
        if member.isdir():
            return
        files[path] = member
        if path.name == self._read:
            self._contents.read[path] = self._content(member)

    def _content(self, member: tarfile.TarInfo) -> bytes:
        if member.size > _MAX_READ:
            raise self._refusal(f"'{member.name[:60]}' has {member.size / 1e6:,.0f} MB")
        content = self._contents.archive.extractfile(member)
        assert content is not None  # it is a file
        return content.read()

    def _refusal(self, reason: str) -> UserError:
        return UserError(f"{self._archive.name} is not unpacked: {reason}. {_OURS}")
