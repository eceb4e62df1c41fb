"""The report shows how rows are answered, and what other thresholds and targets would cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_report import job_of_classes

from multimodal_algo.config.decisions import read_settings
from multimodal_algo.fusion.decisions import HeldOutProbabilities, choose_rule
from multimodal_algo.report.page import render_page


def page_of(classes: tuple[str, ...], threshold: str = "", target: float = 0.0) -> str:
    """The report of a job of these classes with a threshold or a target accuracy."""
    job = job_of_classes(classes, rows=2000)
    settings = read_settings("", threshold, 0, target, "__review__")
    rows = HeldOutProbabilities(job.results.predictions, job.results.targets, classes)
    return render_page(replace(job, decision=choose_rule(settings, rows)))


def test_two_classes_have_the_curves_and_thresholds_of_one() -> None:
    page = page_of(("a", "b"), "recall>=0.8")
    for part in ("How rows are answered", "Precision and recall", "ROC", "Thresholds of ", "What a target costs"):
        assert part in page
    assert page.count("<polyline fill") == 3


def test_more_classes_have_a_curve_each_and_the_target_is_marked() -> None:
    page = page_of(tuple("abcd"), target=0.97)
    assert page.count("<polyline fill") == 4 + 4 + 1
    assert "<b>0.97</b>" in page
    assert "Thresholds of" not in page


@pytest.mark.parametrize("name", ["<script>", "[/red]"])
def test_names_of_classes_cannot_break_the_page(name: str) -> None:
    assert "<script>" not in page_of(("a", name), "f1")
