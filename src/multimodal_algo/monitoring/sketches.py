"""Sketches of the training rows: bins for each column, with the number of rows in each bin. The artifact has them.

A *measure* is one property of a column: whether cells are missing, the value of a number, the length of a text, its
script, its language, or where its vector lies. The bins of a measure come from one half of the training rows, and the
counts from the other half. Therefore, if nothing changed, new rows fall into the bins as the counted rows do.
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
"""The bin of a row to which a measure does not apply, for example the length of a missing text."""


class Property(StrEnum):
    """The property of a column for which a measure has bins."""

    MISSING = "missing"
    """Whether a cell is filled or missing."""
    VALUE = "value"
    """Value of a number or of a category."""
    NEW = "new values"
    """Whether training saw the value of a category."""
    LENGTH = "length"
    """Number of characters of a text."""
    SCRIPT = "script"
    """Script of most letters of a text, for example Latin."""
    LANGUAGE = "language"
    """Language of a text. Identification takes about a millisecond for each text, so a server does not use it."""
    DIRECTION = "direction"
    """Position of a vector of a text or image along a main direction of the training vectors."""
    DISTANCE = "distance"
    """Distance of a vector from the space of the main directions."""


@dataclass(frozen=True)
class Measure:
    """A property of a column, with bins of its values and the number of training rows in each bin.

    Parameters
    ----------
    column
        Name of the column.
    kind
        The property.
    counts
        Number of training rows in each bin, int64 (bins,).
    edges
        Upper ends of all ordered bins except the last, float64 (bins - 1,). A value that equals an end lies in the bin
        below the end. Empty if bins have no order.
    names
        Names of bins without an order. Values without a bin of their own share the bins with the name ``""``. A hash
        of the value decides which bin. Empty for ordered bins.
    number
        Number of the main direction, from 1. 0 if the property is not a direction.
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
        """Return the positions of vectors along the directions, and their distances from the space of the directions.

        The positions are float32 (rows, directions), and the distances are float32 (rows,).
        """
        centered = vectors.astype(np.float32) - self.center.astype(np.float32)
        along = centered @ self.directions.astype(np.float32).T
        rest = (centered**2).sum(axis=1) - (along**2).sum(axis=1)
        return along, np.sqrt(np.maximum(rest, 0.0))


@dataclass(frozen=True)
class Sketches:
    """The sketches of all columns of the training rows, a small part of the artifact.

    Parameters
    ----------
    rows
        Number of training rows that were counted.
    measures
        The measures of all columns.
    projections
        Main directions of the vectors, by name of the text or image column.
    sample
        Bins of a few training rows, uint8 (rows, measures). `NO_BIN` if a measure does not apply.
    ranks
        Quantiles of the sums of squared surprise of training rows, float64 (101,), see `novelty.ranks_of`.
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
        """Read the sketches from a file that `save` wrote."""
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
