"""The report is readable in a browser: at 400, 800 and 1,600 pixels, light and dark, and with a screen reader."""

from __future__ import annotations

from typing import Any

import pytest
from made_report import job_of_classes, job_of_numbers
from report_browser import AXE, CHECKED, browser, look_at

from multimodal_algo.report.page import render_page

LONG = "a class with a name of many words, all of which matter"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    if browser() is None:
        pytest.skip("there is no chromium (apt-get install chromium)")
    names = [LONG, "W" * 120, *(f"class {number}" for number in range(20))]
    pages = {"classes": render_page(job_of_classes(names)), "numbers": render_page(job_of_numbers(100))}
    return look_at(pages, tmp_path_factory.mktemp("browser"))


def test_pages_are_shown_at_every_width_in_both_schemes(seen: list[dict[str, Any]]) -> None:
    shown = {(each["name"], each["width"], each["is_dark"]) for each in seen}
    assert len(shown) == 2 * 3 * 2
    assert all(each["is_dark"] == (each["scheme"] == "dark") for each in seen)


def test_nothing_is_wider_than_the_screen_except_what_scrolls(seen: list[dict[str, Any]]) -> None:
    assert [(each["name"], each["width"], each["wide"][:3]) for each in seen if each["wide"]] == []
    assert [(each["name"], each["width"], each["page"]) for each in seen if each["page"] > each["width"]] == []


def test_no_text_is_cut(seen: list[dict[str, Any]]) -> None:
    assert [(each["name"], each["width"], each["cut"][:3]) for each in seen if each["cut"]] == []


def test_axe_finds_no_barrier(seen: list[dict[str, Any]]) -> None:
    if not AXE.is_file():
        pytest.skip(f"there is no axe-core ({AXE}, see .ci/chromium)")
    assert [
        (each["name"], each["width"], each["scheme"], each["violations"]) for each in seen if each["violations"]
    ] == []
    assert sum(each.get("checked", 0) > 10 for each in seen) == 2 * len(CHECKED)
