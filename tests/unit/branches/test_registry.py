from __future__ import annotations

import pytest

from multimodal_algo.branches.registry import FINE_TUNED, SPECS, is_fine_tuned, needs_pictures, new_models
from multimodal_algo.config.recipes import RECIPES, Branch
from multimodal_algo.core.schema import FeatureSchema, Modality
from multimodal_algo.core.task import Task


def names(columns: str, *branches: Branch) -> list[str]:
    schema = FeatureSchema(("label", *columns.split()))
    return [model.name for _, model in new_models(schema, Task.of_classes(2), branches or tuple(Branch))]


def test_every_branch_is_declared_once_in_the_order_of_its_name() -> None:
    assert list(SPECS) == list(Branch)
    assert all(spec.branch is branch for branch, spec in SPECS.items())


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("a_num", ["num"]),
        ("a_num b_cat", ["num", "cat", "table"]),
        ("a_text", ["text", "text_vectors", "text_tuned"]),
        ("a_text b_num", ["text", "text_vectors", "num", "joint", "text_tuned", "early"]),
        ("a_image", ["img/a_image", "img_tuned/a_image"]),
        ("a_image b_image", ["img/a_image", "img/b_image", "joint", "img_tuned/a_image", "img_tuned/b_image", "early"]),
    ],
)
def test_a_dataset_has_the_branches_that_it_has_columns_for(columns: str, expected: list[str]) -> None:
    assert names(columns) == expected


def test_only_the_branches_of_the_recipe_are_fitted() -> None:
    assert names("a_text b_num", Branch.NUM, Branch.TEXT) == ["text", "num"]


def test_the_directory_of_a_column_lies_below_its_folder() -> None:
    assert names("a/../b_image", Branch.IMAGE) == ["img/a%2F..%2Fb_image"]


def test_fine_tuned_branches_name_their_networks() -> None:
    assert FINE_TUNED == {
        Branch.TEXT_FINE_TUNED: (Modality.TEXT,),
        Branch.IMAGE_FINE_TUNED: (Modality.IMAGE,),
        Branch.EARLY: (Modality.TEXT, Modality.IMAGE),
    }
    assert is_fine_tuned("early")
    assert not is_fine_tuned("image")


def test_only_fine_tuned_branches_see_the_images_themselves() -> None:
    assert not needs_pictures(RECIPES["default"].models)
    assert needs_pictures(["text", "image_tuned"])
    assert not needs_pictures(["text_tuned"])
