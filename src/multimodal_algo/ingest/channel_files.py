"""Finds the data files in a channel's directory, and passes over the other files."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from multimodal_algo.core.encodings import wide_encoding
from multimodal_algo.core.headers import is_header, other_separator
from multimodal_algo.ingest.formats import GZIP, PARQUET, foreign_format, is_json

_SHOWN = 3
_BEGIN_BYTES = 64 * 1024
# Names of tables, packed or not. Those in formats that are not read are refused by name.
_TABLE_NAME = re.compile(
    r"\.(?:csv|tsv|psv|parquet|pq|xlsx?|xlsm|ods|orc|avro|arrow|feather|jsonl|ndjson)"
    r"(?:\.(?:gz|zip|bz2|xz|zstd?|lz4|snappy|z|7z|rar))?$"
)
# Names of what tools and people put next to data. Manifests are those of SageMaker and Redshift.
_OTHER_ENDING = re.compile(
    r"manifest(?:\.json)?$|\.(?:crc|md5|sha1|sha256|tmp|temp|bak|swp|lock|md|rst)$|~$|_etags_|_do_not_modify"
)
_OTHER_NAME = re.compile(
    r"^(?:licen[cs]e|copying|notice|readme|authors|contributors|changelog|makefile|dockerfile|manifest|thumbs\.db"
    r"|desktop\.ini|sha\d*sums?|md5sums?|checksums?)(?:$|[._-])"
)
_SEPARATOR_LINE = re.compile(r'"?sep=.', re.IGNORECASE)


@dataclass(frozen=True)
class ChannelFiles:
    """The files below a channel's directory, as sorted relative paths.

    Parameters
    ----------
    tables
        Files to read as tables.
    passed_over
        Files that are not data and are not read.
    """

    tables: list[str]
    passed_over: list[str]

    @property
    def note(self) -> str:
        """A sentence that lists the files in `passed_over`, for the log. Empty if there are no such files."""
        count = len(self.passed_over)
        if not count:
            return ""
        return f"{count} file{' is' if count == 1 else 's are'} not data and passed over: {listed(self.passed_over)}"


def find_files(location: Path) -> ChannelFiles:
    """Find the files below a directory, and decide which of them are tables.

    A file is a table if its name ends as one (``.csv``, ``.csv.gz``, ``.tsv``, ``.parquet``), or if it has no ending,
    such as ``part-00000``. A file with another ending, for example ``.txt``, ``.dat`` or ``.gz``, is a table if its
    content is Parquet or begins with a header line. It is also one if another file with the same ending is. Tables in
    formats that cannot be read, for example ``.xlsx``, are among the tables, so that reading refuses them by name.

    Hidden files, empty files, markers such as ``_SUCCESS``, manifests, checksums and files such as ``LICENSE`` are not
    data. JSON is data if a key is ``label``.
    """
    tables: list[str] = []
    by_ending: dict[str, list[str]] = {}
    passed_over: list[str] = []
    for path in sorted(path for path in location.rglob("*") if path.is_file()):
        name = path.relative_to(location).as_posix()
        if _is_marker(name) or not path.stat().st_size:
            passed_over.append(name)
        elif _TABLE_NAME.search(name.lower()):
            tables.append(name)
        elif _OTHER_NAME.search(path.name.lower()):
            passed_over.append(name)
        else:
            by_ending.setdefault(_ending(name), []).append(name)
    for ending, names in by_ending.items():
        are_tables = [_is_table(location / name, ending) for name in names]
        # Files with one ending are of one kind. Without an ending that is not so: each decides for itself.
        chosen = [True] * len(names) if ending and any(are_tables) else are_tables
        tables += [name for name, is_table in zip(names, chosen, strict=True) if is_table]
        passed_over += [name for name, is_table in zip(names, chosen, strict=True) if not is_table]
    return ChannelFiles(sorted(tables, key=PurePosixPath), sorted(passed_over, key=PurePosixPath))


def listed(names: Sequence[str]) -> str:
    """Return the first few names for a message, and how many more there are."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def _is_marker(name: str) -> bool:
    parts = name.split("/")
    return any(part.startswith((".", "_")) for part in parts) or bool(_OTHER_ENDING.search(parts[-1].lower()))


def _ending(name: str) -> str:
    """Return the ending of a file's name, without ``.gz``. Empty if there is only a number, as in ``part.1``."""
    ending = PurePosixPath(name.lower().removesuffix(".gz")).suffix
    return "" if re.fullmatch(r"\.c?\d+", ending) else ending


def _is_table(path: Path, ending: str) -> bool:
    begin = _first_bytes(path)
    # Whoever reads a broken archive, or a file without an ending, names what is wrong with it.
    if begin is None or begin.startswith(PARQUET):
        return True
    if is_json(begin):
        return b'"label"' in begin
    if not ending:
        return True
    return foreign_format(begin) is None and _begins_with_header(begin)


def _begins_with_header(begin: bytes) -> bool:
    text = begin.decode(wide_encoding(begin) or "utf-8", errors="replace").lstrip("\ufeff")
    line = re.split("[\r\n]", text, maxsplit=1)[0]
    separator = other_separator(line)
    if separator is None:
        return _SEPARATOR_LINE.match(line) is not None
    return is_header([name.strip('" ') for name in line.split(separator)])


def _first_bytes(path: Path) -> bytes | None:
    """Return the first bytes of a file after decompression. None if decompression fails."""
    with path.open("rb") as file:
        begin = file.read(_BEGIN_BYTES)
    if not begin.startswith(GZIP):
        return begin
    try:
        return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress(begin, _BEGIN_BYTES)
    except zlib.error:
        return None
