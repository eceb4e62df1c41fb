from __future__ import annotations

from pathlib import Path

import numpy as np

from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.ingest.categories import KnownCategories, _hashes


def test_unseen_values_are_recognised_after_a_round_trip(tmp_path: Path) -> None:
    schema = FeatureSchema(("a_cat", "x_num", "b_cat", "label"))
    known = KnownCategories({"a_cat": _hashes(["red", "blue", ""]), "b_cat": _hashes([])})
    known.save(tmp_path / "categories.npz")
    read = KnownCategories.load(tmp_path / "categories.npz", schema)
    assert not read.is_unseen("a_cat", "red")
    assert read.is_unseen("a_cat", "Red")
    assert not read.is_unseen("a_cat", "")  # missing, which is not a new value
    assert read.is_unseen("b_cat", "red")
    both = read.merged(KnownCategories({"b_cat": _hashes(["red"])}))
    assert not both.is_unseen("a_cat", "blue")
    assert not both.is_unseen("b_cat", "red")
    assert both.hashes["a_cat"].dtype == np.uint64
