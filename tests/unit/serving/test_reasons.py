"""Cells of columns are emptied one by one."""

from __future__ import annotations

import numpy as np

from multimodal_algo.ingest.features import Features, VectorColumn


def test_emptied_columns_are_empty_in_every_form_and_others_stay() -> None:
    features = Features(
        {"a_text": np.array(["x", "y"], dtype=object), "b_num": np.array([1.0, 2.0])},
        2,
        {"a_text": VectorColumn(np.ones((2, 3), dtype=np.float16), np.array([0, 1]))},
    )
    emptied = features.without(["a_text"])
    assert not emptied.filled("a_text").any()
    assert list(emptied.cells["a_text"]) == ["", ""]
    assert emptied.filled("b_num").all()
    assert not features.without(["b_num"]).filled("b_num").any()
    assert features.filled("a_text").all()
