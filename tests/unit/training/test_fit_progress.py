"""The log shows which branch is fitted and how long the fits will take."""

from __future__ import annotations

import re

import pytest

from multimodal_algo.core.budget import Budget
from multimodal_algo.training.fit_progress import FitProgress, duration


def test_a_line_names_the_branch_and_the_time_that_is_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with FitProgress({"text": 2.0, "num": 1.0}, 1, Budget.starting_now(600)) as progress:
        progress.begin("text")
        assert re.fullmatch(r"branch 2 of 3 \(text\), \d s, at most 10 min left", caplog.messages[-1])
        progress.finish("text")
        progress.begin("num")
        assert re.fullmatch(r"branch 3 of 3 \(num\), \d s, about \d s left", caplog.messages[-1])
    assert len(caplog.messages) == 2


def test_branches_that_are_fitted_at_the_same_time_are_counted() -> None:
    progress = FitProgress({"text": 2.0, "num": 1.0, "cat": 1.0}, 0, Budget.starting_now(600))
    for name in ("text", "num", "cat"):
        progress.begin(name)
    progress.finish("num")
    assert re.fullmatch(r"1 of 3 branches, \d s, about \d s left", progress.sentence())


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0 s"), (40, "40 s"), (125, "2 min"), (9000, "2.5 h")])
def test_a_duration_has_the_unit_of_a_person(seconds: float, text: str) -> None:
    assert duration(seconds) == text
