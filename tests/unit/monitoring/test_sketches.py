"""Sketches are small, survive their file, and rank the novelty of rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_algo.core.column_names import AS_WRITTEN
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.ingest.categories import KnownCategories
from multimodal_algo.ingest.features import Features
from multimodal_algo.monitoring.making import sketch
from multimodal_algo.monitoring.measuring import Meter, count_bins
from multimodal_algo.monitoring.model_monitor import CONSTRAINTS, STATISTICS, write_baseline
from multimodal_algo.monitoring.novelty import Novelty
from multimodal_algo.monitoring.sketches import NO_BIN, Property, Sketches
from multimodal_algo.serving.watching import RowWatch

Rows = Callable[..., Features]


def test_sketches_survive_their_file(tmp_path: Path, sketches: Sketches, rows: Rows, known: KnownCategories) -> None:
    path = tmp_path / "sketches.npz"
    sketches.save(path)
    assert path.stat().st_size < 50_000
    loaded = Sketches.load(path)
    features = rows(40)
    assert np.array_equal(Meter.of(loaded, known).bins(features), Meter.of(sketches, known).bins(features))
    assert loaded.rows == sketches.rows
    for a, b in zip(loaded.measures, sketches.measures, strict=True):
        assert (a.column, a.kind, a.names, a.number) == (b.column, b.kind, b.names, b.number)
        assert np.array_equal(a.counts, b.counts)
        assert np.array_equal(a.edges, b.edges)


def test_a_missing_cell_has_no_bin_but_that_of_missing_cells(sketches: Sketches, rows: Rows) -> None:
    bins = Meter.of(sketches).bins(rows(30, missing=1.0))
    of = {(each.column, each.kind): bins[:, n] for n, each in enumerate(sketches.measures)}
    assert (of["few_num", Property.MISSING] == 1).all()
    assert (of["few_num", Property.VALUE] == NO_BIN).all()


def test_novelty_is_the_rank_among_training_rows(sketches: Sketches, rows: Rows, known: KnownCategories) -> None:
    novelty, meter = Novelty.of(sketches), Meter.of(sketches, known)
    same = novelty(meter.bins(rows(400)))
    assert 0.4 < np.median(same) < 0.65
    assert 0.04 < (same >= 0.9).mean() < 0.2
    assert novelty(meter.bins(rows(100, image=3.0))).mean() > 0.9
    assert novelty(meter.bins(rows(100, shift=50.0))).mean() > novelty(meter.bins(rows(100))).mean() + 0.2


def test_few_and_empty_rows_have_sketches() -> None:
    schema = FeatureSchema(("a_num", "t_text", "label"))
    cells = {"a_num": np.full(12, np.nan), "t_text": np.full(12, "", dtype=object)}
    features = Features(cells, 12, {})

    class Empty:
        def __init__(self) -> None:
            self.features, self.schema = features, schema

    made = sketch(Empty(), np.arange(12) % 3, np.arange(12))  # type: ignore[arg-type]
    bins = Meter.of(made).bins(features)
    assert count_bins(bins, made.measures)[0].tolist() == [0, 12]
    assert np.isfinite(Novelty.of(made)(bins)).all()


def test_a_watch_counts_single_rows_and_batches(sketches: Sketches, rows: Rows, known: KnownCategories) -> None:
    watch = RowWatch(sketches, known)
    assert watch.sentence() is None
    for _ in range(70):
        watch.add(rows(1, shift=3.0))
    watch.add(rows(100, shift=3.0))
    sentence = watch.sentence()
    assert sentence is not None
    assert sentence.startswith("1 column of 170 rows differs from the training rows: a_num: median")


def test_the_baseline_has_the_documented_schema(tmp_path: Path, training: Any) -> None:
    write_baseline(training, AS_WRITTEN, tmp_path)
    statistics = json.loads((tmp_path / STATISTICS).read_text())
    assert statistics["dataset"] == {"item_count": 600}
    by_name = {feature["name"]: feature for feature in statistics["features"]}
    number = by_name["a_num"]["numerical_statistics"]
    assert by_name["a_num"]["inferred_type"] == "Fractional"
    assert number["common"] == {"num_present": 600, "num_missing": 0}
    kll = number["distribution"]["kll"]
    assert sum(bucket["count"] for bucket in kll["buckets"]) == 600
    assert sum(len(level) << number for number, level in enumerate(kll["sketch"]["data"])) == 600
    assert by_name["few_num"]["inferred_type"] == "Integral"
    values = by_name["x_cat"]["string_statistics"]["distribution"]["categorical"]["buckets"]
    assert sum(bucket["count"] for bucket in values) == 600
    assert by_name["p_image"]["string_statistics"]["common"] == {"num_present": 600, "num_missing": 0}
    constraints = {each["name"]: each for each in json.loads((tmp_path / CONSTRAINTS).read_text())["features"]}
    assert constraints["a_num"]["num_constraints"] == {"is_non_negative": False}
    assert constraints["few_num"]["num_constraints"] == {"is_non_negative": True}
    assert set(constraints["x_cat"]["string_constraints"]["domains"]) == set("abcd")
    assert constraints["t_text"]["completeness"] == 1.0
