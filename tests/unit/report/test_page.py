import re

import pytest
from made_report import job_of_classes, job_of_numbers

from multimodal_algo.report.page import SECTIONS, render_page
from multimodal_algo.report.section import Section


def test_every_section_of_a_job_stands_in_its_page_and_in_the_list_of_contents() -> None:
    for job in (job_of_classes(["a", "b", "c"]), job_of_numbers()):
        page = render_page(job)
        sections = [section for make in SECTIONS if isinstance(section := make(job), Section)]
        for section in sections:
            assert f'<section id="{section.id}"' in page
            assert f'href="#{section.id}"' in page
        assert len({section.id for section in sections}) == len(sections)


def test_a_page_of_a_thousand_classes_is_small_and_lists_the_weakest_ones() -> None:
    page = render_page(job_of_classes([f"class number {number}" for number in range(1000)], rows=20_000))
    assert len(page.encode()) < 2_000_000
    assert "The weakest" in page
    assert "940 classes with fewer rows are not shown" in page


def test_a_cell_or_a_class_is_never_markup() -> None:
    page = render_page(job_of_classes(["<script>alert(1)</script>", "b"]))
    assert "<script" not in page


def test_no_class_name_is_cut_in_the_confusion_matrix() -> None:
    names = ["plain", "a class with a name of many words, all of which matter"]
    matrix = re.search(r'<section id="confusion".*?</section>', render_page(job_of_classes(names)), re.S)
    assert matrix is not None
    assert all(f'<th scope="row">{number}&ensp;' in matrix[0] for number in (1, 2))
    assert names[1] in matrix[0]


@pytest.mark.parametrize("rows", [1, 2, 30])
def test_a_page_of_few_rows_is_written(rows: int) -> None:
    assert "Calibration" in render_page(job_of_classes(["a", "b", "c"], rows=rows))
    assert "Predicted against true" in render_page(job_of_numbers(rows=rows))


def test_own_column_names_stand_in_the_page() -> None:
    page = render_page(job_of_classes(["a", "b"], parameters={"columns": '{"price": "num", "photo": "image"}'}))
    assert "1 num: price" in page
    assert "price_num" not in page.replace("column price_num", "")
