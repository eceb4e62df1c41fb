"""Remembers which values of categories training has seen. The artifact stores hashes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.core.schema import FeatureSchema, Modality

if TYPE_CHECKING:
    from multimodal_algo.ingest.dataset import Dataset


@dataclass(frozen=True)
class KnownCategories:
    """The values of each category column that training has seen, to recognise new values at inference.

    Hashes take less memory than values. By chance, a new value has the hash of a known one, with a probability of the
    number of known values divided by 2**64.

    Parameters
    ----------
    hashes
        Sorted hashes of the values of each column, uint64 (values,).
    """

    hashes: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, dataset: Dataset) -> KnownCategories:
        """Return the category values in the rows of a dataset."""
        cells = dataset.features.cells
        return cls({column: _hashes(dict.fromkeys(cells[column])) for column in dataset.schema.of(Modality.CAT)})

    def merged(self, other: KnownCategories) -> KnownCategories:
        """Return one object with the category values of this one and of `other`."""
        nothing = np.empty(0, dtype=np.uint64)
        columns = {**self.hashes, **other.hashes}
        return KnownCategories(
            {c: np.union1d(self.hashes.get(c, nothing), other.hashes.get(c, nothing)) for c in columns}
        )

    def save(self, path: Path) -> None:
        """Write the hashes of the category values to an ``.npz`` file."""
        arrays: dict[str, Any] = {str(number): hashes for number, hashes in enumerate(self.hashes.values())}
        np.savez(path, **arrays)

    @classmethod
    def load(cls, path: Path, schema: FeatureSchema) -> KnownCategories:
        """Read the hashes that `save` has written, for the category columns of `schema`."""
        with np.load(path) as stored:
            return cls({column: stored[str(n)] for n, column in enumerate(schema.of(Modality.CAT))})

    def is_unseen(self, column: str, value: str) -> bool:
        """Return whether training has not seen `value` in `column`. A missing value does not count as unseen."""
        return bool(value) and _hash(value) not in self._sets[column]

    @cached_property
    def _sets(self) -> dict[str, frozenset[int]]:
        return {column: frozenset(hashes.tolist()) for column, hashes in self.hashes.items()}


def _hashes(values: Iterable[str]) -> np.ndarray:
    return np.unique(np.array([_hash(value) for value in values if value], dtype=np.uint64))


@lru_cache(maxsize=10_000)
def _hash(value: str) -> int:
    return int.from_bytes(hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
