"""Finds the files of the ``images`` channel that cells name."""

from __future__ import annotations

import bisect
import difflib
import heapq
import logging
import os
import threading
import unicodedata
from array import array
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import numpy as np

_LOG = logging.getLogger(__name__)
_LONGEST_NAME = 1024
# A file needs some 90 bytes of memory in the index.
_MOST_INDEXED = 2_000_000
# Most files among which the nearest name is searched, and most searches, since a search takes up to a second.
_MOST_COMPARED = 50_000
_MOST_LIKELY = 100
_MOST_SEARCHES = 20


class ImageFiles:
    """The files of the ``images`` channel, which cells may name instead of holding base64.

    Parameters
    ----------
    directory
        Directory of the channel.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._lock = threading.Lock()
        self._index: _Index | None = None
        self._searches = 0

    def read(self, name: str) -> bytes | None:
        """Return the bytes of the file `name` below the channel's directory. None if there is no such file."""
        if len(name) > _LONGEST_NAME:
            return None
        try:
            path = (self._directory / name).resolve()
            return path.read_bytes() if path.is_relative_to(self._directory) and path.is_file() else None
        except (OSError, ValueError):  # base64, which the file system refuses as a name
            return None

    def read_similar(self, name: str) -> bytes | None:
        r"""Return the bytes of the file whose name is another spelling of `name`. None if there is no such file.

        Spellings differ in the Unicode form, in upper and lower case, in ``\`` and ``/``, in ``./`` or ``/`` at the
        beginning, in blanks around names, or in ``%20`` for a blank.

        Raises
        ------
        ValueError
            Several files have such a name.
        """
        if len(name) > _LONGEST_NAME:
            return None
        # These spellings need no index, which takes long to make for a channel in FastFile mode.
        for form in ("NFC", "NFD"):
            if (data := self.read(unicodedata.normalize(form, _cleaned(name)))) is not None:
                return data
        names = self._indexed().similar(name)
        if len(names) > 1:
            raise ValueError(f"several files fit '{name[:60]}', for example '{names[0][:60]}' and '{names[1][:60]}'")
        return self.read(names[0]) if names else None

    def nearest(self, name: str) -> str | None:
        """Return the file whose name is most similar to `name`, as a proposal in a message. None if no name is similar.

        After many calls it returns None at once, because the search is slow.
        """
        with self._lock:
            self._searches += 1
            if self._searches > _MOST_SEARCHES:
                return None
        return self._indexed().nearest(name)

    def _indexed(self) -> _Index:
        with self._lock:
            if self._index is None:
                self._index = _Index(self._directory)
            return self._index


class _Index:
    """The names of all files below a directory, in compact arrays.

    A name is found by the hash of its key, which all spellings of the name share.
    """

    def __init__(self, directory: Path) -> None:
        hashes, ends, names = array("q"), array("Q", [0]), bytearray()
        for name in _names_below(directory):
            if len(hashes) >= _MOST_INDEXED:
                _LOG.warning(
                    "images: more than %d files: upper and lower case must be that of the files", _MOST_INDEXED
                )
                hashes, ends, names = array("q"), array("Q", [0]), bytearray()
                break
            hashes.append(hash(_key(name)))
            names += os.fsencode(name)
            ends.append(len(names))
        order = np.argsort(np.frombuffer(hashes, dtype=np.int64), kind="stable")
        self._order = order
        self._hashes = np.frombuffer(hashes, dtype=np.int64)[order]
        self._ends = ends
        self._names = bytes(names)

    def similar(self, name: str) -> list[str]:
        """Return the file names that are other spellings of `name`: with other case, Unicode form and the like."""
        key = _key(name)
        begin, end = np.searchsorted(self._hashes, [hash(key), hash(key) + 1])
        candidates = (self._name(int(number)) for number in self._order[begin:end])
        return [candidate for candidate in candidates if _key(candidate) == key]

    def nearest(self, name: str) -> str | None:
        """Return a file name that ends in the same last part as `name`, or the most similar file name."""
        key = _key(name)
        if not key:
            return None
        last = key.rpartition("/")[2]
        for number in self._numbers_with(_cleaned(name).rpartition("/")[2]):
            if _key(self._name(number)).rpartition("/")[2] == last:
                return self._name(number)
        candidates = {_key(self._name(number)): number for number in range(min(len(self._order), _MOST_COMPARED))}
        # The exact comparison is slow. Most misspelt names begin or end as the right ones do.
        likely = heapq.nlargest(_MOST_LIKELY, candidates, key=lambda candidate: _common_ends(candidate, key))
        close = difflib.get_close_matches(key, likely, n=1, cutoff=0.7)
        return self._name(candidates[close[0]]) if close else None

    def _numbers_with(self, text: str) -> Iterator[int]:
        """Yield the positions of some of the file names that contain `text`."""
        at = -1
        for _ in range(_MOST_LIKELY):
            at = self._names.find(os.fsencode(text), at + 1)
            if at < 0:
                return
            yield bisect.bisect_right(self._ends, at) - 1

    def _name(self, number: int) -> str:
        return os.fsdecode(self._names[self._ends[number] : self._ends[number + 1]])


def _names_below(directory: Path) -> Iterator[str]:
    # Links to directories are not followed, since they may lead out of the channel or in circles.
    for here, folders, files in os.walk(directory):
        folders.sort()
        prefix = Path(here).relative_to(directory).as_posix()
        for file in sorted(files):
            yield file if prefix == "." else f"{prefix}/{file}"


def _key(name: str) -> str:
    """Return the one form that all spellings of a file name have in common."""
    folded = unicodedata.normalize("NFC", _cleaned(name)).casefold()
    return unicodedata.normalize("NFC", folded)


def _cleaned(name: str) -> str:
    parts = (part.strip() for part in unquote(name).replace("\\", "/").split("/"))
    return "/".join(part for part in parts if part not in ("", "."))


def _common_ends(left: str, right: str) -> int:
    """Return how many characters two names share at the beginning and at the end. File endings do not count."""
    left, right = left.rpartition(".")[0] or left, right.rpartition(".")[0] or right
    return _common_beginning(left, right) + _common_beginning(left[::-1], right[::-1])


def _common_beginning(left: str, right: str) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(left), len(right)))
