"""The failure file, of which the platform shows the first 1,024 characters."""

from __future__ import annotations

from multimodal_algo.training.program import failure_text


def test_the_reason_is_one_line_that_begins_with_the_sentence() -> None:
    assert failure_text("train.csv:\n\ta NUL byte\0 in\r\nrow 3") == "train.csv: a NUL byte in row 3"


def test_a_long_reason_is_cut_at_what_the_platform_shows() -> None:
    text = failure_text("The header differs. " + "a column, " * 500)
    assert len(text) == 1024
    assert text.startswith("The header differs. a column, ")
    assert text.endswith("…")
