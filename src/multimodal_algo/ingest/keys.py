"""Short hashes of rows, and of their texts and images, to recognise duplicates."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from multimodal_algo.core.schema import FeatureSchema, Modality, modality_of
from multimodal_algo.core.values import in_number_column


def vector_columns(schema: FeatureSchema) -> tuple[str, ...]:
    """Return the columns that networks turn into vectors: first the text columns, then the image columns."""
    return (*schema.of(Modality.TEXT), *schema.of(Modality.IMAGE))


def row_keys(schema: FeatureSchema, cells: Mapping[str, Sequence[Any]], rows: int) -> np.ndarray:
    """Return short hashes of each row and of its texts and images, to recognise duplicates.

    Two different rows have the same hash with a probability of 1 in 2**32. Labels, IDs, the order of columns, and case
    and spaces of texts do not change a hash.

    Parameters
    ----------
    schema
        The columns.
    cells
        Parsed cells of each feature column, see `parse_cell`.
    rows
        Number of rows.

    Returns
    -------
    numpy.ndarray
        Hashes, uint32 (rows, 1 + n). The first is the hash of the whole row. The other n are the hashes of its text and
        image cells, 0 for an empty cell.
    """
    alone = vector_columns(schema)
    keys = np.zeros((rows, 1 + len(alone)), dtype=np.uint32)
    order = [(column, modality_of(column)) for column in sorted(schema.features)]
    numbers = {column: number for number, column in enumerate(alone, start=1)}
    for row in range(rows):
        whole = hashlib.blake2b(digest_size=4)
        for column, modality in order:
            value = cells[column][row]
            if modality in (Modality.TEXT, Modality.IMAGE):
                key = value.key if modality is Modality.IMAGE else _key(value)
                keys[row, numbers[column]] = key
                whole.update(key.to_bytes(4, "little"))
            else:
                value = in_number_column(value) if modality is Modality.CAT else value
                whole.update(repr(value).encode("utf-8", "surrogatepass") + b"\x1f")
        keys[row, 0] = int.from_bytes(whole.digest(), "little")
    return keys


def _key(text: str) -> int:
    folded = " ".join(text.casefold().split()).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(folded, digest_size=4).digest(), "little") if text else 0
