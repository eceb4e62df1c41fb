"""Sketches of the training rows: the bins of each column with the share of rows in each, in an artifact of their own.

A *measure* is one property of a column: whether cells are missing, the value of a number, the length of a text, its
script, its language, or where its vector lies. The bins of a measure come from one half of the training rows and the
counts from the other half. Counts of new rows are therefore drawn as those of the sketch are, wherever nothing changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

NO_BIN = 255
"""The bin of a cell that a measure does not apply to, for example the length of a missing text."""


class Property(StrEnum):
    """The property of a column that a measure has bins for."""

    MISSING = "missing"
    """Bins: filled cells, missing cells."""
    VALUE = "value"
    """Value of a number, or of a category."""
    NEW = "new values"
    """Bins: values of a category that training saw, and values that it did not see."""
    LENGTH = "length"
    """Characters of a text."""
    SCRIPT = "script"
    """Script of most letters of a text."""
    LANGUAGE = "language"
    """Language of a text. It takes about a millisecond a text, so a server does not look for it."""
    DIRECTION = "direction"
    """Vector of a text or image along a main direction of the training vectors."""
    DISTANCE = "distance"
    """Distance of a vector from the space of the main directions."""


@dataclass(frozen=True)
class Measure:
    """A property of a column in bins.

    Parameters
    ----------
    column
        Name of the column.
    kind
        The property.
    counts
        Number of training rows by bin, int64 (bins,).
    edges
        Upper ends of ordered bins but the last, float64 (bins - 1,). A value at an end lies in the bin below it. Empty
        for bins without order.
    names
        Names of bins without order. Bins with the name ``""`` share the values without a bin of their own, by hash.
        Empty for ordered bins.
    number
        Number of the direction, from 1. 0 for other properties.
    """

    column: str
    kind: Property
    counts: np.ndarray
    edges: np.ndarray = field(default_factory=lambda: np.empty(0))
    names: tuple[str, ...] = ()
    number: int = 0

    @property
    def is_ordered(self) -> bool:
        """Whether the bins have an order."""
        return not self.names


@dataclass(frozen=True)
class Projection:
    """The main directions of the vectors of a column.

    Parameters
    ----------
    center
        Mean vector, float16 (width,).
    directions
        Orthogonal directions, float16 (directions, width).
    """

    center: np.ndarray
    directions: np.ndarray

    def __call__(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where vectors lie along the directions, float32 (rows, directions), and their distance, (rows,)."""
        centered = vectors.astype(np.float32) - self.center.astype(np.float32)
        along = centered @ self.directions.astype(np.float32).T
        rest = (centered**2).sum(axis=1) - (along**2).sum(axis=1)
        return along, np.sqrt(np.maximum(rest, 0.0))


@dataclass(frozen=True)
class Sketches:
    """Light sketches of all columns of the training rows.

    Parameters
    ----------
    rows
        Number of training rows that the counts come from.
    measures
        The measures of all columns.
    projections
        Main directions by text or image column.
    sample
        Bins of a few training rows, uint8 (rows, measures). `NO_BIN` where a measure does not apply.
    ranks
        Distances of training rows at 101 equal steps of their rank, float64 (101,), see `novelty.novelty_of`.
    """

    rows: int
    measures: tuple[Measure, ...]
    projections: Mapping[str, Projection]
    sample: np.ndarray
    ranks: np.ndarray

    def save(self, path: Path) -> None:
        """Write the sketches to a compressed ``.npz`` file."""
        described = [[each.column, each.kind.value, list(each.names), each.number] for each in self.measures]
        text = json.dumps({"rows": self.rows, "measures": described, "projections": list(self.projections)})
        arrays: dict[str, Any] = {"description": np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)}
        arrays |= {"sample": self.sample, "ranks": self.ranks}
        arrays["counts"] = np.concatenate([np.empty(0, np.int64), *(each.counts for each in self.measures)])
        arrays["edges"] = np.concatenate([np.empty(0), *(each.edges for each in self.measures)])
        arrays["sizes"] = np.array([len(each.counts) for each in self.measures], dtype=np.int64)
        for number, projection in enumerate(self.projections.values()):
            arrays[f"center{number}"], arrays[f"directions{number}"] = projection.center, projection.directions
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Sketches:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            description = json.loads(stored["description"].tobytes().decode("utf-8", "surrogatepass"))
            counts, edges, measures = stored["counts"], stored["edges"], []
            for (column, name, names, number), size in zip(description["measures"], stored["sizes"], strict=True):
                own, counts = counts[:size], counts[size:]
                ends = 0 if names else int(size) - 1
                measures.append(Measure(column, Property(name), own, edges[:ends], tuple(names), number))
                edges = edges[ends:]
            projections = {
                column: Projection(stored[f"center{number}"], stored[f"directions{number}"])
                for number, column in enumerate(description["projections"])
            }
            return cls(description["rows"], tuple(measures), projections, stored["sample"], stored["ranks"])
