from __future__ import annotations

import numpy as np

from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.fusion.folds import stratified_folds
from multimodal_algo.ingest.keys import row_keys
from multimodal_algo.training.duplicates import find_duplicates, linking_keys

SCHEMA = FeatureSchema(("a_text", "b_text", "c_image", "label"))


def keys(a: list[str], b: list[str], images: list[int]) -> np.ndarray:
    """Of rows whose images are of one colour each; -1 is none."""
    cells = [() if n < 0 else (np.full((4, 4, 3), n, dtype=np.uint8),) for n in images]
    return row_keys(SCHEMA, {"a_text": a, "b_text": b, "c_image": cells}, len(a))


def test_equal_texts_and_images_link_rows_through_each_other() -> None:
    rows = keys(
        ["Red  Lamp", "red lamp", "desk", "", "", "chair", "sofa"],
        ["same"] * 7,  # a phrase: no sign of copies
        [0, 1, 1, 2, -1, -1, 3],
    )
    groups = find_duplicates(rows)
    assert len({groups[0], groups[1], groups[2]}) == 1
    assert len(np.unique(groups)) == 5


def test_a_column_that_mostly_repeats_itself_links_nothing() -> None:
    rows = keys(["x", "y", "z"] * 4, [f"t {n}" for n in range(12)], [-1] * 12)
    assert len(np.unique(find_duplicates(rows))) == 12


def test_a_text_that_many_rows_share_links_nothing() -> None:
    rows = keys([f"t {n}" for n in range(30)] + ["no description"] * 11, ["p"] * 41, [-1] * 41)
    assert len(np.unique(find_duplicates(rows))) == 41


def test_linking_keys_know_rows_and_copies_again_but_not_phrases() -> None:
    known = linking_keys(keys([f"t {n}" for n in range(30)] + ["no description"] * 11, ["p"] * 41, [-1] * 41))
    later = keys(["T  7", "no description", "t 99", ""], ["p", "new", "p", "q"], [-1, -1, -1, 5])
    assert np.isin(later, known).any(axis=1).tolist() == [True, False, False, False]


def test_neither_the_order_of_columns_nor_the_label_changes_a_row_s_key() -> None:
    cells = {"a_text": ["x"], "b_num": [1.5], "c_cat": ["y"]}
    one = row_keys(FeatureSchema(("a_text", "b_num", "c_cat", "label")), cells, 1)
    other = row_keys(FeatureSchema(("label", "ID", "c_cat", "b_num", "a_text")), cells, 1)
    changed = row_keys(FeatureSchema(("a_text", "b_num", "c_cat", "label")), {**cells, "b_num": [1.25]}, 1)
    assert one[0, 0] == other[0, 0] != changed[0, 0]


def test_rows_of_one_group_lie_in_one_fold_and_classes_are_still_spread() -> None:
    labels = np.repeat([0, 1], 60)
    groups = np.arange(120) // 2
    folds = stratified_folds(labels, 4, seed=0, groups=groups)
    assert (folds[::2] == folds[1::2]).all()
    for label in (0, 1):
        counts = np.bincount(folds[labels == label], minlength=4)
        assert counts.max() - counts.min() <= 2
