"""Planted drift is found, and rows of the same distribution are not reported."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.ingest.categories import KnownCategories
from multimodal_algo.ingest.features import Features
from multimodal_algo.monitoring.adversary import separate
from multimodal_algo.monitoring.comparison import Drift, certain, compare
from multimodal_algo.monitoring.making import sketch
from multimodal_algo.monitoring.measuring import Meter, count_bins
from multimodal_algo.monitoring.sketches import Property, Sketches

Rows = Callable[..., Features]


def drift_of(features: Features, sketches: Sketches, known: KnownCategories, *, with_languages: bool = False) -> Drift:
    meter = Meter.of(sketches, known, with_languages=with_languages)
    return compare(sketches, count_bins(meter.bins(features), sketches.measures), len(features))


@pytest.mark.parametrize("count", [20, 200])
def test_rows_of_the_same_distribution_are_hardly_ever_reported(
    count: int, rows: Rows, sketches: Sketches, known: KnownCategories
) -> None:
    alarms = sum(bool(drift_of(rows(count), sketches, known).columns) for _ in range(25))
    assert alarms <= 2  # with the allowed 2 % each, three alarms have a probability of 1.3 %


@pytest.mark.parametrize(
    ("change", "column", "properties"),
    [
        ({"shift": 1.0}, "a_num", {Property.VALUE}),
        ({"missing": 0.4}, "few_num", {Property.MISSING}),
        ({"new": 0.3}, "x_cat", {Property.NEW, Property.VALUE}),
        ({"image": 1.5}, "p_image", {Property.DIRECTION, Property.DISTANCE}),
    ],
)
def test_planted_drift_is_found(
    change: dict[str, float],
    column: str,
    properties: set[Property],
    rows: Rows,
    sketches: Sketches,
    known: KnownCategories,
) -> None:
    drift = drift_of(rows(150, **change), sketches, known)
    assert list(drift.columns) == [column]
    assert {each.measure.kind for each in drift.columns[column]} & properties
    assert column in drift.sentence


def test_another_language_is_found_by_script_and_language(
    rows: Rows, sketches: Sketches, known: KnownCategories
) -> None:
    features = rows(60)
    cyrillic = np.array(["Эта лампа стоит на деревянной ножке и даёт тёплый свет вечером"] * 60, dtype=object)
    other = Features({**features.cells, "t_text": cyrillic}, 60, features.vectors)
    differences = drift_of(other, sketches, known, with_languages=True).columns["t_text"]
    assert {Property.SCRIPT, Property.LANGUAGE} <= {each.measure.kind for each in differences}
    sentences = [each.sentence for each in differences]
    assert "script 'Cyrillic' in 100% of the rows, in training 0%" in sentences


def test_a_new_value_is_found_in_a_category_whose_values_hardly_repeat() -> None:
    schema = FeatureSchema(("x_cat", "label"))
    cells = np.array([f"value {row}" for row in range(1200)], dtype=object)

    class MadeRows:
        def __init__(self) -> None:
            self.features, self.schema = Features({"x_cat": cells[:1000]}, 1000, {}), schema

    rows = np.arange(1000)
    sketches = sketch(MadeRows(), rows % 4, rows)  # type: ignore[arg-type]
    known = KnownCategories.of(MadeRows())  # type: ignore[arg-type]
    assert not drift_of(Features({"x_cat": cells[1000:]}, 200, {}), sketches, known).columns
    planted = np.where(np.arange(200) % 3, cells[1000:], "planted")
    assert list(drift_of(Features({"x_cat": planted}, 200, {}), sketches, known).columns) == ["x_cat"]


def test_too_few_rows_are_not_compared(rows: Rows, sketches: Sketches, known: KnownCategories) -> None:
    drift = drift_of(rows(5, shift=9), sketches, known)
    assert not drift.columns
    assert "too few" in drift.sentence


def test_holm_corrects_for_the_number_of_measures() -> None:
    assert certain([0.5, 1e-6, 0.02, 0.9], 0.02) == [False, True, False, False]
    assert certain([0.009, 0.009], 0.02) == [True, True]
    assert certain([], 0.02) == []


def test_an_adversary_separates_changed_rows_alone(rows: Rows, sketches: Sketches, known: KnownCategories) -> None:
    meter = Meter.of(sketches, known)
    same = separate(sketches.measures, sketches.sample, meter.bins(rows(200)))
    other = separate(sketches.measures, sketches.sample, meter.bins(rows(200, image=1.5)))
    assert same is not None
    assert other is not None
    assert abs(same.auc - 0.5) < 0.1
    assert same.p_value > 0.01
    assert other.auc > 0.8
    assert other.p_value == 0.01
    assert separate(sketches.measures, sketches.sample, meter.bins(rows(5))) is None
