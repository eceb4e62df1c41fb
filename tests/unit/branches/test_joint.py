from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from multimodal_algo.branches.finetuned import EarlyFusionModel
from multimodal_algo.branches.joint import JointModel
from multimodal_algo.core.task import Task
from multimodal_algo.ingest.features import Features, VectorColumn
from multimodal_algo.predictors.linear_features import LinearFeatures

COLUMNS = ("a_text", "b_num", "c_cat", "d_image")


def rows() -> Features:
    """Rows without a text, without a text and a number, with a text alone, with all, and with nothing."""
    texts = ["", "", "some words", "some words", ""]
    table = pd.DataFrame(
        {"a_text": texts, "b_num": [1.0, np.nan, np.nan, 2.0, np.nan], "c_cat": ["x", "y", "", "x", ""]}
    )
    vectors = {
        "a_text": VectorColumn(np.ones((2, 3), np.float16), np.array([-1, -1, 0, 1, -1])),
        "d_image": VectorColumn(np.ones((3, 3), np.float16), np.array([0, 1, -1, 2, -1])),
    }
    return Features.of_table(table, vectors)


def test_joint_has_a_vote_wherever_two_of_its_modalities_have() -> None:
    model = JointModel("joint", COLUMNS, Task.of_classes(2))
    assert model.informed(rows(), 0.25).tolist() == [True, True, False, True, False]


@pytest.mark.parametrize("columns", [("b_num", "c_cat"), ("a_text", "b_num")])
def test_a_branch_of_two_modalities_needs_both(columns: tuple[str, ...]) -> None:
    filled = [rows().filled(column) for column in columns]
    model = JointModel("table", columns, Task.of_classes(2))
    assert model.informed(rows(), 0.25).tolist() == (filled[0] & filled[1]).tolist()


def test_a_network_over_all_columns_still_needs_every_modality() -> None:
    model = EarlyFusionModel("early", COLUMNS, Task.of_classes(2))
    assert model.informed(rows(), 0.25).tolist() == [False, False, False, True, False]


def test_a_missing_modality_is_not_a_value_of_it() -> None:
    inputs = JointModel("joint", COLUMNS, Task.of_classes(2)).inputs(rows())
    assert np.isnan(inputs.columns["b_num"]).tolist() == [False, True, True, False, True]
    numbers = pd.DataFrame({"b_num": [0.0, 0.0, 1.0, 2.0, 3.0, np.nan]})
    learned = LinearFeatures(100)
    codes = learned.fit_transform(numbers).sparse.toarray()
    assert codes.sum(axis=1).tolist() == [0.5] * 6
    assert not (codes[:5] * codes[5]).any()


def test_a_missing_number_that_training_never_saw_has_no_code() -> None:
    learned = LinearFeatures(100)
    learned.fit_transform(pd.DataFrame({"b_num": [0.0, 1.0, 2.0, 3.0]}))
    assert not learned.transform(pd.DataFrame({"b_num": [np.nan]})).sparse.toarray().any()
