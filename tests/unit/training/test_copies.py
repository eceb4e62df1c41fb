from __future__ import annotations

import numpy as np
import pandas as pd

from multimodal_algo.fusion.folds import stratified_folds
from multimodal_algo.ingest.features import Features, VectorColumn
from multimodal_algo.schema import FeatureSchema
from multimodal_algo.training.copies import find_copies

SCHEMA = FeatureSchema(("a_text", "b_text", "c_image", "label"))


def features(a: list[str], b: list[str], images: list[int]) -> Features:
    vectors = np.arange(40, dtype=np.float16).reshape(10, 4)
    return Features(
        pd.DataFrame({"a_text": a, "b_text": b}), {"c_image": VectorColumn(vectors, np.array(images, dtype=np.int64))}
    )


def test_equal_texts_and_images_link_rows_through_each_other() -> None:
    rows = features(
        ["Red  Lamp", "red lamp", "desk", "", "", "chair", "sofa"],
        ["same"] * 7,  # a phrase: no sign of copies
        [0, 1, 1, 2, -1, -1, 3],
    )
    groups = find_copies(rows, SCHEMA)
    assert len({groups[0], groups[1], groups[2]}) == 1
    assert len(np.unique(groups)) == 5


def test_a_column_that_mostly_repeats_itself_links_nothing() -> None:
    rows = features(["x", "y", "z"] * 4, [f"t {n}" for n in range(12)], [-1] * 12)
    assert len(np.unique(find_copies(rows, SCHEMA))) == 12


def test_a_text_that_many_rows_share_links_nothing() -> None:
    rows = features([f"t {n}" for n in range(30)] + ["no description"] * 11, ["p"] * 41, [-1] * 41)
    assert len(np.unique(find_copies(rows, SCHEMA))) == 41


def test_rows_of_one_group_lie_in_one_fold_and_classes_are_still_spread() -> None:
    labels = np.repeat([0, 1], 60)
    groups = np.arange(120) // 2
    folds = stratified_folds(labels, 4, seed=0, groups=groups)
    assert (folds[::2] == folds[1::2]).all()
    for label in (0, 1):
        counts = np.bincount(folds[labels == label], minlength=4)
        assert counts.max() - counts.min() <= 2
