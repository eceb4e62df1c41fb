"""Counts how often a problem occurs, and finds repeated IDs. Counts of several files are merged in order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

TRACKED_VALUES = 1_000_000
SHOWN = 5


@dataclass
class Occurrences:
    """How often a problem occurs, the first rows with it, and an example."""

    count: int = 0
    first: list[str] = field(default_factory=list)
    example: str = ""

    def add(self, where: str, example: str = "") -> None:
        """Count one more occurrence. `where` is the place of the row, for messages."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(where)
        self.example = self.example or example

    def merge(self, later: Occurrences) -> None:
        """Add the occurrences that `later` has counted, in rows that follow in the data."""
        self.count += later.count
        self.first = (self.first + later.first)[:SHOWN]
        self.example = self.example or later.example


@dataclass
class Identities:
    """Finds IDs that several rows share. The first million different IDs are tracked.

    Parameters
    ----------
    repeated
        Number of rows whose ID a row above already has.
    first
        ID and place of the first such row, as messages show it.
    """

    repeated: int = 0
    first: str = ""
    # By the hash of each ID the text that `first` gets, if a part above turns out to have the same ID. It is empty for
    # the IDs after the first repeated row, since `first` is then another row's.
    _rows: dict[int, str] = field(default_factory=dict)

    def add(self, identity: str, where: str) -> None:
        """Add the ID of the next row. `where` is the place of the row, for messages."""
        # Hashes take less memory than IDs, and are the same in every process. Two IDs with one hash only cause a wrong
        # warning.
        digest = hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self._add(int.from_bytes(digest, "little"), f"'{identity[:40]}', {where}")

    def merge(self, later: Identities) -> None:
        """Add the IDs of the rows that follow in the data, which `later` has seen."""
        for key, description in later._rows.items():
            self._add(key, description)
        self.repeated += later.repeated
        self.first = self.first or later.first

    def _add(self, key: int, description: str) -> None:
        if key in self._rows:
            self.repeated += 1
            self.first = self.first or description
        elif len(self._rows) < TRACKED_VALUES:
            self._rows[key] = "" if self.repeated else description
