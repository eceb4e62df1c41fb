from __future__ import annotations

import pytest

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.headers import schema_of
from multimodal_algo.core.schema import Modality


def test_the_suffix_of_a_column_names_its_modality() -> None:
    schema = schema_of(["ID", "a_text", "b_num", "c_cat", "d_image", "e_image", "label"], "x.csv")
    assert schema.of(Modality.TEXT) == ("a_text",)
    assert schema.of(Modality.IMAGE) == ("d_image", "e_image")
    assert schema.inference_columns == ("ID", "a_text", "b_num", "c_cat", "d_image", "e_image")


def test_the_label_may_stand_anywhere() -> None:
    schema = schema_of(["a_text", "label", "ID", "b_num"], "x.csv")
    assert schema.inference_columns == ("a_text", "ID", "b_num")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (["ID", "a_text"], "no 'label' column"),
        (["ID", "a_text", "Label"], "Rename 'Label' to 'label'"),
        (["a_text", "price", "label"], "'price' has no known suffix"),
        (["a_text", "a_text", "label"], "'a_text' occurs 2 times"),
        (["ID", "label"], "no feature column"),
        (["7", "red lamp", "3.5", "books"], "not a header"),
    ],
)
def test_a_bad_header_is_reported_in_one_sentence_with_its_place(header: list[str], message: str) -> None:
    with pytest.raises(UserError, match=r"shard\.csv: ") as caught:
        schema_of(header, "shard.csv")
    assert message in str(caught.value)
