"""Where things were found: first places, and IDs that occur more than once; parts of a channel are joined in order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

TRACKED_VALUES = 1_000_000
SHOWN = 5


@dataclass
class Occurrences:
    """How often something occurred, where first, and an example."""

    count: int = 0
    first: list[str] = field(default_factory=list)
    example: str = ""

    def add(self, where: str, example: str = "") -> None:
        """Note one more."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(where)
        self.example = self.example or example

    def merge(self, later: Occurrences) -> None:
        """Add those of the rows that follow."""
        self.count += later.count
        self.first = (self.first + later.first)[:SHOWN]
        self.example = self.example or later.example


@dataclass
class Identities:
    """The IDs of rows, the first million different ones.

    Parameters
    ----------
    repeated
        Rows whose ID an earlier row has.
    first
        The first of these: its ID and place, as messages show them.
    """

    repeated: int = 0
    first: str = ""
    # What is told of the row of each ID, as long as it may yet turn out that an earlier part has the ID too and that
    # no row before is repeated.
    _rows: dict[int, str] = field(default_factory=dict)

    def add(self, identity: str, where: str) -> None:
        """Note the next row's."""
        # Hashes take less than IDs, and are the same in every process; two IDs that collide cost no more than a wrong
        # warning.
        digest = hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self._add(int.from_bytes(digest, "little"), f"'{identity[:40]}', {where}")

    def merge(self, later: Identities) -> None:
        """Add those of the rows that follow."""
        for key, told in later._rows.items():
            self._add(key, told)
        self.repeated += later.repeated
        self.first = self.first or later.first

    def _add(self, key: int, told: str) -> None:
        if key in self._rows:
            self.repeated += 1
            self.first = self.first or told
        elif len(self._rows) < TRACKED_VALUES:
            self._rows[key] = "" if self.repeated else told
