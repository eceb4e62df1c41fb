from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema, Modality, modality_of
from multimodal_algo.fusion.folds import stratified_folds
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.decoded import DecodedImages
from multimodal_algo.ingest.features import Features, VectorColumn
from multimodal_algo.ingest.groups import check_group_columns, with_group_keys
from multimodal_algo.ingest.keys import row_keys
from multimodal_algo.training.duplicates import RowGroups, find_groups

LONG = "{} A widowed father of two girls returns to a town that nobody remembers, and opens a bakery there."


def dataset(**cells: list[object]) -> Dataset:
    """Rows with these cells. An image is a number, which is its colour, or None."""
    rows = len(next(iter(cells.values())))
    schema = FeatureSchema((*cells, "label"))
    parsed = {
        column: [DecodedImages([] if n is None else [np.full((4, 4, 3), n, dtype=np.uint8)]) for n in values]
        if modality_of(column) is Modality.IMAGE
        else values
        for column, values in cells.items()
    }
    table = pd.DataFrame({c: values for c, values in cells.items() if modality_of(c) is not Modality.IMAGE})
    images = {c: np.array([-1 if n is None else 0 for n in cells[c]]) for c in schema.of(Modality.IMAGE)}
    vectors = {c: VectorColumn(np.zeros((1, 1), np.float16), index) for c, index in images.items()}
    features = Features.of_table(table if len(table.columns) else pd.DataFrame(index=range(rows)), vectors)
    return Dataset(schema, features, ("x",) * rows, Path(), {}, 0, row_keys(schema, parsed, rows))


def groups_of(rows: Dataset, targets: np.ndarray | None = None) -> RowGroups:
    return find_groups(rows, np.zeros(len(rows), dtype=np.int64) if targets is None else targets)


def authors(rng: np.random.Generator, rows: int, distinct: int) -> tuple[np.ndarray, np.ndarray]:
    """The author of each book, most of whom write in one genre, and the genre."""
    author = rng.integers(0, distinct, rows)
    genre = np.where(rng.random(rows) < 0.8, rng.permutation(distinct)[author] % 4, rng.integers(0, 4, rows))
    return author, genre


def test_equal_long_texts_and_images_link_rows_through_each_other() -> None:
    texts = [LONG.format(1), LONG.format(1).upper().replace(" ", "  "), *(LONG.format(n) for n in range(3, 8))]
    found = groups_of(dataset(a_text=texts, b_image=[0, 1, 1, 2, None, None, 3]))
    assert len({found.groups[0], found.groups[1], found.groups[2]}) == 1
    assert len(np.unique(found.groups)) == 5
    assert found.linked == {"a_text": 2, "b_image": 2}


def test_equal_rows_are_linked_but_not_where_rows_mostly_repeat() -> None:
    numbers = [float(n) for n in range(20)]
    assert groups_of(dataset(a_num=[*numbers, 3.0, 4.0], b_cat=["x"] * 22)).linked == {"whole rows": 4}
    assert not groups_of(dataset(a_cat=["x", "y", "z"] * 9, b_cat=["u"] * 27)).linked


def test_a_file_that_has_every_row_five_times_is_held_out_by_row() -> None:
    numbers, labels = np.tile(np.arange(80.0), 5), np.tile(np.arange(80) % 3, 5)
    found = groups_of(dataset(a_num=numbers.tolist()), labels)
    assert found.linked == {"whole rows": 400}
    assert len(np.unique(found.groups)) == 80
    # Equal rows with different labels are a table of few categories.
    assert not groups_of(dataset(a_num=numbers.tolist()), np.arange(400) % 3).linked


@pytest.mark.parametrize("text", ["no description", LONG.format("Template:")])
def test_a_text_that_many_rows_share_links_nothing(text: str) -> None:
    assert not groups_of(dataset(a_text=[LONG.format(n) for n in range(300)] + [text] * 11)).linked.get("a_text")


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 50), st.sampled_from([150, 400, 900]), st.sampled_from(["Ann Lee {}", "Дмитрий {}", "王小明{}"]))
def test_names_do_not_link_rows(seed: int, distinct: int, name: str) -> None:
    author, genre = authors(np.random.default_rng(seed), 1000, distinct)
    rows = dataset(a_text=[name.format(n) for n in author], title_text=[f"Book {n}" for n in range(1000)])
    found = groups_of(rows, genre)
    assert not found.linked
    assert found.shared["a_text"] > 300


def test_short_texts_link_rows_where_each_names_one_thing() -> None:
    names = [f"thing {n // 2}" for n in range(60)] + [f"other {n}" for n in range(60)]
    labels = np.arange(120) // 2 % 5
    drawings = list(range(120))
    assert groups_of(dataset(a_text=names, b_image=drawings), labels).linked == {"a_text": 60}
    assert groups_of(dataset(a_text=names, b_image=drawings), labels.astype(np.float64)).linked == {"a_text": 60}
    shuffled = np.random.default_rng(0).permutation(labels)
    assert not groups_of(dataset(a_text=names, b_image=drawings), shuffled).linked


def test_keys_know_rows_and_duplicates_again_but_not_names() -> None:
    rows = dataset(a_text=[LONG.format(n) for n in range(30)], b_text=["Ann", "Bob", "Cem"] * 10)
    later = dataset(a_text=[LONG.format(7), "short", LONG.format(99)], b_text=["new", "Ann", "Bob"])
    assert np.isin(later.keys, groups_of(rows).keys).any(axis=1).tolist() == [True, False, False]


def test_group_by_links_equal_values_of_every_kind_of_column_but_not_missing_ones() -> None:
    rows = dataset(
        a_text=["Ann", "ann ", "", ""],
        b_cat=["", "", "x", "x"],
        c_num=[1.0, np.nan, np.nan, 0.0],
        d_image=[1, 2, 3, 4],
    )
    grouped = with_group_keys(rows, ("a_text",))
    assert groups_of(grouped).groups.tolist() == [0, 0, 1, 2]
    grouped = with_group_keys(rows, ("a_text", "b_cat", "c_num"))
    assert groups_of(grouped).groups.tolist() == [0, 0, 1, 1]
    assert groups_of(grouped).linked == {"a_text": 2, "b_cat": 2}
    assert groups_of(with_group_keys(rows, ("c_num", "d_image")), np.arange(4)).groups.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "hint"), [("author", "Did you mean 'author_text'?"), ("Author_Text", "'author_text'"), ("label", "Name")]
)
def test_an_unknown_column_to_group_by_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UserError, match="group_by") as caught:
        check_group_columns(FeatureSchema(("author_text", "x_num", "label")), (name,))
    assert hint in str(caught.value)


def test_held_out_accuracy_is_that_of_known_authors_and_with_group_by_that_of_new_ones() -> None:
    size, distinct = 2000, 600
    accuracies = []
    for seed in range(10):
        author, genre = authors(np.random.default_rng(seed), 2 * size, distinct)
        train, known = np.arange(size), np.arange(size, 2 * size)
        rows = dataset(author_text=[f"Author {n}" for n in author[train]], title_text=[f"B {n}" for n in train])

        def accuracy(fitted: np.ndarray, asked: np.ndarray, author: np.ndarray, genre: np.ndarray) -> float:
            counts = np.zeros((distinct, 4)) + np.bincount(genre[fitted], minlength=4) / size
            np.add.at(counts, (author[fitted], genre[fitted]), 1)
            return float((counts[author[asked]].argmax(axis=1) == genre[asked]).mean())

        of_seed = []
        for data in (rows, with_group_keys(rows, ("author_text",))):
            folds = stratified_folds(genre[train], 5, 0, find_groups(data, genre[train]).groups)
            for fold in range(5):
                fitted, asked = train[folds != fold], train[folds == fold]
                new = known[~np.isin(author[known], author[fitted])]
                of_seed.append([accuracy(fitted, rows, author, genre) for rows in (asked, known, new)])
        accuracies.append(np.reshape(of_seed, (2, 5, 3)).mean(axis=1))
    (held_out, of_known, _), (grouped, _, of_new) = np.mean(accuracies, axis=0)
    standard_error = np.sqrt(2 * 0.75 * 0.25 / (10 * size))
    assert abs(held_out - of_known) < standard_error
    assert abs(grouped - of_new) < 2 * standard_error
    assert held_out > grouped + 0.2


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


@pytest.mark.parametrize("is_regression", [False, True])
def test_groups_of_very_different_sizes_fill_folds_evenly(is_regression: bool) -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(200), rng.permutation(np.r_[np.full(4, 100), rng.integers(1, 12, 196)]))
    labels = rng.integers(0, 3, len(groups))
    folds = stratified_folds(labels + 0.5 if is_regression else labels, 5, seed=0, groups=groups)
    assert all(len(np.unique(folds[groups == group])) == 1 for group in range(200))
    for label in range(3):
        counts = np.bincount(folds[labels == label], minlength=5)
        assert counts.min() > 0.7 * counts.mean()
