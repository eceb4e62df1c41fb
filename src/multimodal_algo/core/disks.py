"""Free space on disks, and plain messages for writes that fail."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from multimodal_algo.core.errors import MultimodalError, UserError

_LOG = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT)
_READ_ONLY, _DENIED, _BROKEN = errno.EROFS, (errno.EACCES, errno.EPERM), errno.EIO
_NUMBERS = (*_FULL, _READ_ONLY, *_DENIED, _BROKEN)
# Below this many free bytes a volume counts as full: libraries report a full disk in their own words.
_NOTHING = 64 * 1024


def free_bytes(path: Path) -> int:
    """Return the free bytes of the volume that `path` is on. The path itself need not exist."""
    return shutil.disk_usage(_existing(path)).free


def size_of(directory: Path) -> int:
    """Return the total bytes of the files below `directory`."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def require_room(directory: Path, size: int, what: str) -> None:
    """Raise an error if the volume of `directory` has less than `size` free bytes.

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


def require_writable(directory: Path, what: str) -> None:
    """Make `directory` if it is missing, and raise an error if this process may not write to it.

    Raises
    ------
    UserError
        The message names the directory and the reason.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(_sentence(directory, what, error)) from None
    if not os.access(directory, os.W_OK | os.X_OK):
        is_read_only = bool(os.statvfs(directory).f_flag & os.ST_RDONLY)
        number = _READ_ONLY if is_read_only else errno.EACCES
        raise UserError(_sentence(directory, what, OSError(number, os.strerror(number))))


def require_temporary_directory() -> None:
    """Raise an error if this machine has no directory for temporary files.

    Raises
    ------
    UserError
        None of ``TMPDIR``, ``/tmp``, ``/var/tmp``, ``/usr/tmp`` and the working directory can be written to.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        raise UserError(
            "There is no directory for temporary files: neither TMPDIR nor /tmp can be written to. "
            "Mount a writable /tmp."
        ) from None


def check_volumes(volumes: Mapping[str, Path], optional: str) -> None:
    """Log the free space of each directory of a job, and raise an error if this process may not write to one of them.

    Parameters
    ----------
    volumes
        Directories, by a noun for their content, for example "the artifact".
    optional
        The noun of a directory that the job can do without. It may be read-only.

    Raises
    ------
    UserError
        See `require_writable`.
    """
    for what, path in volumes.items():
        try:
            require_writable(path, what)
        except UserError as error:
            if what != optional:
                raise
            _LOG.warning("%s", error)
    free = ", ".join(f"{_mb(free_bytes(path))} for {what}" for what, path in volumes.items())
    _LOG.info("disks: free are %s", free)


def write_into(directory: Path, write: Callable[[Path], None], what: str, volume: Path) -> None:
    """Let `write` fill a new `directory`. Remove the directory again if the disk fails.

    Parameters
    ----------
    directory
        Directory of the files.
    write
        Function that writes the files into the directory that it gets. Where the disk is full, it runs once more into
        a temporary directory, to find out how much is missing.
    what
        Noun for what is written, for the message.
    volume
        The directory of the job that `directory` is in, for the message.

    Raises
    ------
    UserError
        The disk fails. The message names `volume`, and the bytes that are missing where it is full.
    """
    try:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        write(directory)
    except Exception as error:
        if (number := disk_error(error, directory)) is None:
            raise
        shutil.rmtree(directory, ignore_errors=True)
        if number in _FULL and (size := _size_elsewhere(write)):
            require_room(volume, size, what)
        raise UserError(_sentence(volume, what, OSError(number, os.strerror(number)))) from error


@contextmanager
def may_fail(name: str, volume: Path) -> Iterator[None]:
    """Log a warning, instead of raising an error, if the disk fails inside the block.

    The block writes the file `name` into the directory `volume`, and the job can do without it. The directory is made
    if missing. A half-written file is removed.
    """
    try:
        volume.mkdir(parents=True, exist_ok=True)
        yield
    except Exception as error:
        if (number := disk_error(error, volume)) is None:
            raise
        _LOG.warning("%s", _sentence(volume, name, OSError(number, os.strerror(number))))
        with suppress(OSError):
            (volume / name).unlink()


def disk_error(error: BaseException, directory: Path | None = None) -> int | None:
    """Return the errno of the disk error that caused `error`, or None if the disk is not the cause.

    `shutil` and many libraries show the errno only in the text of their own error. Some libraries do not show it at
    all. So an error also counts as "disk full" if the volume of `directory` is full.
    """
    if isinstance(error, MultimodalError):  # it has its sentence
        return None
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in _NUMBERS:
            return each.errno
        for number in _NUMBERS:
            if os.strerror(number) in str(each):
                return number
    return errno.ENOSPC if directory is not None and free_bytes(directory) < _NOTHING else None


def failed_volume(error: BaseException, volumes: Mapping[str, Path]) -> str | None:
    """Return a message for users about a disk error that no other code has explained. Return None for other errors.

    Parameters
    ----------
    error
        The error.
    volumes
        Directories of the job, by a noun for what is in them.
    """
    number = disk_error(error)
    if number is None:
        return None
    file = next((str(each.filename) for each in _chain(error) if isinstance(each, OSError) and each.filename), None)
    if file is not None:
        around = {what: path for what, path in volumes.items() if Path(file).is_relative_to(path)}
        what = max(around, key=lambda each: len(str(around[each])), default="the file")
        return _sentence(around.get(what, Path(file).parent), what, OSError(number, os.strerror(number), file))
    if number in _FULL:
        what = min(volumes, key=lambda each: free_bytes(volumes[each]))
        return _sentence(volumes[what], what, OSError(number, os.strerror(number)))
    if number == _BROKEN:
        return f"A disk of this machine fails ({os.strerror(number)}). Start the job again, on another instance."
    return None


def _sentence(directory: Path, what: str, error: OSError) -> str:
    name = "" if error.filename is None else f" ({Path(str(error.filename)).name[:60]})"
    if error.errno in _FULL:
        free = f"{_mb(free_bytes(directory))} are free"
        return f"{directory}: {what}{name} cannot be written: the volume is full ({free}). Use a larger volume."
    if error.errno == _BROKEN:
        return (
            f"{directory}: {what}{name} cannot be read or written: the disk fails ({error.strerror}). "
            "Start the job again, on another instance."
        )
    if error.errno == _READ_ONLY:
        return f"{directory}: {what}{name} cannot be written: the volume is read-only. Mount it for writing."
    return (
        f"{directory}: {what}{name} cannot be read or written by user {os.getuid()} ({error.strerror}). "
        "Change its owner or its permissions."
    )


def _size_elsewhere(write: Callable[[Path], None]) -> int | None:
    try:
        with tempfile.TemporaryDirectory(prefix="multimodal-size-", ignore_cleanup_errors=True) as scratch:
            write(Path(scratch))
            return size_of(Path(scratch))
    except Exception as error:
        _LOG.debug("the size is not known: %s", error)
        return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _existing(path: Path) -> Path:
    """Return `path`, or the nearest folder above it that exists."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
