"""Every problem of a header comes in one message, with its proposal."""

from __future__ import annotations

import unicodedata

import pytest

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.headers import header_problems, header_warnings, is_header, other_separator, schema_of


@pytest.mark.parametrize(
    ("header", "proposals"),
    [
        (["ID", "LABEL", "a_text"], ["Rename 'LABEL' to 'label'"]),
        (["ID", " label", "a_text"], ["Rename ' label' to 'label'"]),
        (["ID", "\u200blabel", "a_text"], ["Rename '\\u200blabel' to 'label'"]),
        (["ID", "target", "a_text"], ["Rename 'target' to 'label'"]),
        (["ID", "y", "a_text"], ["Rename 'y' to 'label'"]),
        (["ID", "class", "a_text"], ["Rename 'class' to 'label'"]),
        (["id", "label", "a_text"], ["Rename it to 'ID'"]),
        (["Id", "label", "a_text"], ["Rename it to 'ID'"]),
        (["", "label", "a_text"], ["column 1, without name", "index=False"]),
        (["Unnamed: 0", "label", "a_text"], ["'Unnamed: 0'", "index=False"]),
        (["__index_level_0__", "label", "a_text"], ["index=False"]),
        (["label", "a_text", ""], ["the line ends with a separator"]),
        (["label", "a_text", "", " "], ["the line ends with a separator"]),
        (["label", "photo_img"], ["Rename it to 'photo_image'"]),
        (["label", "price_number"], ["Rename it to 'price_num'"]),
        (["label", "TITLE_TEXT"], ["Rename it to 'TITLE_text'"]),
        (["label", "title-text"], ["Rename it to 'title_text'"]),
        (["label", "titleText"], ["Rename it to 'title_text'"]),
        (["label", "title_text1"], ["Rename it to 'title1_text'"]),
        (["label", "text_title"], ["Rename it to 'title_text'"]),
        (["label", "size_category"], ["Rename it to 'size_cat'"]),
        (["label", "image"], ["Rename it to 'image_image'"]),
        (["label", "a_text "], ["blanks or invisible characters", "Rename it to 'a_text'"]),
        (["label", "a_text\u00a0"], ["'a_text\\u00a0'", "Rename it to 'a_text'"]),
        (["label", "a\u200b_text"], ["'a\\u200b_text'", "Rename it to 'a_text'"]),
        (["label", "a_text", "price"], ["'price' has no known suffix", "Rename it to end in _text"]),
        (["label", "a_text", "a_txt"], ["'a_txt' has no known suffix", "Rename it to end in _text"]),
        (["label", "a_text", "a_text"], ["'a_text' occurs 2 times"]),
        (["ID;label;a_text"], ["looks like ';'", "csv_delimiter to ';'"]),
        (["ID\tlabel\ta_text"], ["looks like a tab", "csv_delimiter to 'tab'"]),
        (["ID|label|a_text"], ["csv_delimiter to '|'"]),
        (["ID,label,a_text"], ["Leave the hyperparameter csv_delimiter out"]),
    ],
)
def test_a_problem_comes_with_a_proposal(header: list[str], proposals: list[str]) -> None:
    (problem,) = header_problems(header)
    for proposal in proposals:
        assert proposal in problem


def test_all_problems_come_in_one_message() -> None:
    header = ["", "id", "Target", "photo_img", " a_text", "price", "b_num", "b_num"]
    with pytest.raises(UserError) as caught:
        schema_of(header, "x.csv")
    for part in ("'id'", "'Target' to 'label'", "index=False", "to 'photo_image'", "'price'", "'b_num' occurs 2 times"):
        assert part in str(caught.value)


def test_many_columns_without_suffix_are_counted_and_not_all_listed() -> None:
    message = " ".join(header_problems(["label", "a_text", *(f"price{n}" for n in range(200))]))
    assert len(message) < 500


def test_no_name_is_printed_in_full_if_it_is_long() -> None:
    message = " ".join(header_problems(["label", "a_text", "x" * 1000, "y" * 1000 + "_img", "x" * 1000]))
    assert "x" * 61 not in message
    assert "y" * 61 not in message


@pytest.mark.parametrize(
    "header", [["ID", "label", "a_text"], ["label", "größe_num"], ["label", "two words_cat"], ["label", "_text"]]
)
def test_a_correct_header_has_no_problem(header: list[str]) -> None:
    assert header_problems(header) == []
    assert header_warnings(header) == []


def test_a_decomposed_name_is_a_warning() -> None:
    (warning,) = header_warnings(["label", unicodedata.normalize("NFD", "größe_num")])
    assert "NFD" in warning


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["ID", "label", "a_text"], True),
        (["id", "Target", "title"], True),
        (["1000", "good", "a sentence about it", "17.5", "red"], False),
        (["1000", "y", "id"], False),
        (["good", "some words"], False),
    ],
)
def test_a_row_is_not_taken_for_a_header(fields: list[str], expected: bool) -> None:
    assert is_header(fields) is expected


def test_a_sentence_with_semicolons_has_no_other_separator() -> None:
    assert other_separator("good; but; not a header") is None
    assert other_separator('"ID";"label";"a_text"') == ";"


def test_a_name_may_hold_any_character_but_at_its_ends() -> None:
    assert header_problems(["label", "a\tb_cat", "new\nline_cat", "می\u200cخواهم_text"]) == []
    for name in ("\ta_cat", "a_cat\n", "\u200ba_cat", "a_cat\ufeff", " a_cat\u00a0"):
        (problem,) = header_problems(["label", name])
        assert "Rename" in problem
        assert "'a_cat'" in problem
