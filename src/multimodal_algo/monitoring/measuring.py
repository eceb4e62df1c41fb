"""Sorts rows into the bins of the measures of a sketch. Training rows and new rows share this code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from zlib import crc32

import numpy as np

from multimodal_algo.ingest.categories import KnownCategories
from multimodal_algo.ingest.features import Features
from multimodal_algo.ingest.text_language import language_of, script_of, shows_language
from multimodal_algo.monitoring.sketches import NO_BIN, Measure, Projection, Property, Sketches

# The languages of at most this number of texts are identified, because each text takes about a millisecond.
MOST_LANGUAGES = 250


UNSURE = "unsure"
"""The bin of texts whose language cannot be identified with confidence."""


class Meter:
    """Finds the bin of each row in each measure of a sketch.

    Parameters
    ----------
    measures
        The measures, each a property of a column with its bins.
    projections
        Main directions of the vectors, by name of the text or image column.
    known
        Values of categories that training saw. None for the training rows themselves, or if the values are not known.
    with_languages
        Whether languages are identified, for up to 250 texts of each column.
    """

    def __init__(
        self,
        measures: Sequence[Measure],
        projections: Mapping[str, Projection],
        known: KnownCategories | None = None,
        *,
        with_languages: bool = False,
    ) -> None:
        self.measures = measures
        self._projections = projections
        self._known = known
        self._with_languages = with_languages
        self._bins = [{name: number for number, name in enumerate(measure.names) if name} for measure in measures]
        self._vectors = {
            column: [n for n, each in enumerate(measures) if each.column == column and each.kind in _OF_VECTORS]
            for column in projections
        }

    @classmethod
    def of(cls, sketches: Sketches, known: KnownCategories | None = None, *, with_languages: bool = False) -> Meter:
        """Return the meter for the measures of an artifact's sketches."""
        return cls(sketches.measures, sketches.projections, known, with_languages=with_languages)

    def bins(self, features: Features) -> np.ndarray:
        """Return the bin of each row in each measure, uint8 (rows, measures). `NO_BIN` if a measure does not apply."""
        bins = np.full((len(features), len(self.measures)), NO_BIN, dtype=np.uint8)
        for number, measure in enumerate(self.measures):
            if measure.kind not in _OF_VECTORS:
                rows, own = self._bins_of(number, features)
                bins[rows, number] = own
        for column, numbers in self._vectors.items():
            self._add_vectors(column, numbers, features, bins)
        return bins

    def _bins_of(self, number: int, features: Features) -> tuple[np.ndarray, np.ndarray | Sequence[int]]:
        """Return the indices of the rows to which the measure with this number applies, and the bins of these rows."""
        measure = self.measures[number]
        filled = features.filled(measure.column)
        if measure.kind is Property.MISSING:
            return np.arange(len(features)), ~filled
        rows = np.flatnonzero(filled)
        cells = features.cells[measure.column][rows]
        if measure.kind is Property.NEW:
            if self._known is None:
                return rows[:0], []
            return rows, [self._known.is_unseen(measure.column, value) for value in cells]
        if measure.kind is Property.LANGUAGE:
            return self._languages(number, rows, cells)
        if measure.kind is Property.SCRIPT:
            return rows, self._named(number, map(script_of, cells))
        if measure.kind is Property.LENGTH:
            cells = np.fromiter(map(len, cells), np.float64, len(cells))
        elif not measure.is_ordered:
            return rows, self._named(number, cells)
        return rows, np.searchsorted(measure.edges, cells)

    def _languages(self, number: int, rows: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, Sequence[int]]:
        if not self._with_languages:
            return rows[:0], []
        long = [place for place, text in enumerate(cells) if shows_language(text)]
        chosen = [long[n] for n in np.linspace(0, len(long) - 1, min(len(long), MOST_LANGUAGES)).astype(int)]
        return rows[chosen], self._named(number, (language_of(cells[place]) or UNSURE for place in chosen))

    def _named(self, number: int, values: Iterable[str]) -> list[int]:
        bins, size = self._bins[number], len(self.measures[number].names)
        named, rest = len(bins), size - len(bins)
        if rest == 0:
            return [bins.get(value, size - 1) for value in values]
        # Values without a bin of their own share the other bins. If one of them becomes frequent, its bin stands out.
        return [
            bins[value] if value in bins else named + crc32(value.encode("utf-8", "replace")) % rest for value in values
        ]

    def _add_vectors(self, column: str, numbers: Sequence[int], features: Features, bins: np.ndarray) -> None:
        """Write the bins of the vectors of a column into `bins`. `numbers` are the indices of the column's measures."""
        vectors = features.vectors[column]
        rows = np.flatnonzero(vectors.present)
        if not len(rows):
            return
        along, distance = self._projections[column](vectors.vectors[vectors.index[rows]])
        for number in numbers:
            measure = self.measures[number]
            values = distance if measure.kind is Property.DISTANCE else along[:, measure.number - 1]
            bins[rows, number] = np.searchsorted(measure.edges, values)


_OF_VECTORS = frozenset({Property.DIRECTION, Property.DISTANCE})


def count_bins(bins: np.ndarray, measures: Sequence[Measure]) -> list[np.ndarray]:
    """Return the number of rows in each bin, an array for each measure, int64 (bins,)."""
    counts = np.bincount(
        (bins.astype(np.int64) + 256 * np.arange(len(measures))).ravel(), minlength=256 * len(measures)
    ).reshape(-1, 256)
    return [counts[number, : len(measure.counts)] for number, measure in enumerate(measures)]
