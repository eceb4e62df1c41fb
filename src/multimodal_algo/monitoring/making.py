"""Makes the sketches of the training rows, with which new rows are later compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from multimodal_algo.core.schema import Modality, modality_of
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.features import Features
from multimodal_algo.ingest.text_language import SCRIPTS, language_of, shows_language
from multimodal_algo.monitoring.measuring import MOST_LANGUAGES, UNSURE, Meter, count_bins
from multimodal_algo.monitoring.novelty import Novelty, ranks_of
from multimodal_algo.monitoring.sketches import Measure, Projection, Property, Sketches

# Greatest number of rows from which bins are made, from which directions are made, and which are counted.
_BIN_ROWS, _VECTOR_ROWS, _COUNTED_ROWS = 10_000, 1_000, 20_000
# Quantiles that are ends of bins. A category value has its own bin up to this number, this length, and from this count.
_QUANTILES, _MOST_NAMES, _LONGEST_NAME, _LEAST_NAMED = 33, 32, 60, 2
# Category values without a bin of their own share these bins.
_OTHERS = ("",) * 16
# Greatest number of directions of a column, and greatest size of the directions of all columns.
_DIRECTIONS, _DIRECTION_BYTES = 6, 120_000
# Greatest number of rows and of bytes of the sample.
_SAMPLE_ROWS, _SAMPLE_BYTES = 300, 40_000
# A language with a smaller share of the texts has no bin of its own.
_LEAST_LANGUAGE = 0.03
_SEED = 0


def sketch(dataset: Dataset, folds: np.ndarray, groups: np.ndarray) -> Sketches:
    """Make the sketches of all columns.

    Parameters
    ----------
    dataset
        The training rows.
    folds
        Fold of each row, int (rows,). Bins are made from one half of the folds, and rows of the other half are counted.
    groups
        Group of each row, int (rows,). Duplicate rows are in the same group and in the same fold.
    """
    generator = np.random.default_rng(_SEED)
    makes_bins = folds <= np.median(np.unique(folds)) - 0.5
    binned = _some(np.flatnonzero(makes_bins), _BIN_ROWS, generator)
    counted = _some(np.flatnonzero(~makes_bins), _COUNTED_ROWS, generator)
    features = dataset.features.take(binned)
    projections = _projections(features, generator)
    measures = [each for column in dataset.schema.features for each in _measures(column, features, projections)]
    meter = Meter(measures, projections, with_languages=True)
    bins = meter.bins(dataset.features.take(counted))
    measures = [
        replace(each, counts=_new_values(dataset, each.column, groups) if each.kind is Property.NEW else counts)
        for each, counts in zip(measures, count_bins(bins, measures), strict=True)
    ]
    bins[:, [n for n, each in enumerate(measures) if each.kind is Property.NEW]] = 0
    rows = min(_SAMPLE_ROWS, _SAMPLE_BYTES // max(1, len(measures)), len(bins))
    ranks = ranks_of(Novelty(measures, np.zeros(2), own_rows=True).distances(bins))
    return Sketches(len(counted), tuple(measures), projections, bins[:rows], ranks)


def _some(rows: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    """Return at most `most` of the row indices, in random order."""
    return generator.permutation(rows)[:most]


def _projections(features: Features, generator: np.random.Generator) -> dict[str, Projection]:
    """Return the main directions of the vectors of each text or image column, by name of the column."""
    projections = {}
    for column, vectors in features.vectors.items():
        rows = _some(vectors.index[vectors.present], _VECTOR_ROWS, generator)
        width = vectors.vectors.shape[1]
        most = max(1, min(_DIRECTIONS, _DIRECTION_BYTES // (2 * width * len(features.vectors)) - 1))
        if len(rows) > 1 and width:
            projections[column] = _main_directions(vectors.vectors[rows].astype(np.float32), most)
    return projections


def _main_directions(vectors: np.ndarray, most: int) -> Projection:
    center = vectors.mean(axis=0)
    centered = vectors - center
    # There are often fewer rows than columns. Then the directions are cheaper to find from the products of rows.
    values, rows = np.linalg.eigh(centered @ centered.T)
    kept = [n for n in range(len(values) - 1, -1, -1) if values[n] > 1e-6 * max(values[-1], 1e-12)][:most]
    directions = (rows[:, kept].T @ centered) / np.sqrt(values[kept])[:, None]
    return Projection(center.astype(np.float16), directions.astype(np.float16))


def _measures(column: str, features: Features, projections: dict[str, Projection]) -> Iterator[Measure]:
    """Yield the measures of a column with their bins. No rows are counted yet."""
    yield _named(column, Property.MISSING, ("filled", "missing"))
    modality = modality_of(column)
    if modality in (Modality.TEXT, Modality.IMAGE) and column in projections:
        yield from _vector_measures(column, features, projections[column])
    if modality is Modality.IMAGE:
        return
    cells = features.cells[column][features.filled(column)]
    if modality is Modality.NUM:
        yield _ordered(column, Property.VALUE, cells)
    elif modality is Modality.CAT:
        names = [
            value
            for value, count in Counter(cells.tolist()).most_common(_MOST_NAMES)
            if count >= _LEAST_NAMED and len(value) <= _LONGEST_NAME
        ]
        yield _named(column, Property.VALUE, (*names, *_OTHERS))
        yield _named(column, Property.NEW, ("known", "new"))
    else:
        yield _ordered(column, Property.LENGTH, np.fromiter(map(len, cells), np.float64, len(cells)))
        yield _named(column, Property.SCRIPT, SCRIPTS)
        yield _named(column, Property.LANGUAGE, (*_languages(cells), UNSURE, ""))


def _vector_measures(column: str, features: Features, projection: Projection) -> Iterator[Measure]:
    vectors = features.vectors[column]
    present = vectors.vectors[vectors.index[vectors.present]]
    along, distance = projection(present)
    for number in range(1, along.shape[1] + 1):
        yield _ordered(column, Property.DIRECTION, along[:, number - 1], number)
    # Other vectors lie farther from the directions than the vectors of this fit, but seldom farther than from center.
    farthest = np.linalg.norm(present.astype(np.float32) - projection.center.astype(np.float32), axis=1)
    yield _ordered(column, Property.DISTANCE, np.concatenate([distance, farthest]))


def _ordered(column: str, name: Property, values: np.ndarray, number: int = 0) -> Measure:
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _QUANTILES), method="lower")) if len(values) else values
    return Measure(column, name, np.zeros(len(edges) + 1, dtype=np.int64), edges.astype(np.float64), number=number)


def _named(column: str, name: Property, names: tuple[str, ...]) -> Measure:
    return Measure(column, name, np.zeros(len(names), dtype=np.int64), names=names)


def _languages(cells: np.ndarray) -> list[str]:
    """Return the languages that at least 3 % of the texts have. Texts with too few letters do not count."""
    long = [text for text in cells if shows_language(text)][:MOST_LANGUAGES]
    counts = Counter(map(language_of, long))
    return [name for name, count in counts.most_common() if name and count >= max(2, _LEAST_LANGUAGE * len(long))]


def _new_values(dataset: Dataset, column: str, groups: np.ndarray) -> np.ndarray:
    """Return the number of rows whose value also occurs in other groups, and the number of other rows, int64 (2,).

    The share of the other rows estimates the share of new rows with a value that training did not see (Good: The
    Population Frequencies of Species and the Estimation of Population Parameters. Biometrika 40, 1953).
    """
    rows = np.flatnonzero(dataset.features.filled(column))
    of_value: dict[str, int] = {}
    counts: Counter[str] = Counter()
    for value, group in zip(dataset.features.cells[column][rows].tolist(), groups[rows].tolist(), strict=True):
        counts[value] += 1
        if of_value.setdefault(value, group) != group:
            of_value[value] = -1
    own = sum(counts[value] for value, group in of_value.items() if group >= 0)
    return np.array([len(rows) - own, own], dtype=np.int64)
