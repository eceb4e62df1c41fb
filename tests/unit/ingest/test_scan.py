"""What validate and training find in data."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_job import WriteCsv

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.ingest.cells import CellRules
from multimodal_algo.ingest.findings import Inspection
from multimodal_algo.ingest.images import ImageFiles
from multimodal_algo.ingest.scan import Chunk, scan
from multimodal_algo.ingest.sources import find_sources

HEADER = ["ID", "a_text", "b_num", "c_cat", "label"]


def good_rows(count: int = 20) -> list[list[str]]:
    return [[f"{n:02d}", f"words {n}", str(n), "xy"[n % 2], "pq"[n % 2]] for n in range(count)]


class Collected:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []

    def begin(self, schema: FeatureSchema, rules: CellRules) -> CellRules:
        self.schema = schema
        return rules

    def append(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)


def inspected(path: Path) -> Inspection:
    return scan(find_sources(path))


def test_good_data_has_no_findings(write_csv: WriteCsv) -> None:
    inspection = inspected(write_csv("x.csv", [HEADER, *good_rows()]))
    assert inspection.errors == ()
    assert inspection.warnings == ()
    assert inspection.rows == 20
    assert inspection.classes == {"p": 10, "q": 10}


def test_the_largest_row_is_known_unless_cells_name_files(write_csv: WriteCsv, tmp_path: Path) -> None:
    rows = good_rows()
    rows[3][1] = "x" * 1000
    path = write_csv("x.csv", [HEADER, *rows])
    rest = sum(len(cell) for number, cell in enumerate(rows[3]) if number != 1)
    assert inspected(path).largest_row == 1000 + rest
    assert scan(find_sources(path), rules=CellRules(ImageFiles(tmp_path))).largest_row == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[3].append("more"), "x.csv, row 4: 6 fields instead of 5"),
        (lambda rows: rows[3].__setitem__(2, "12kg"), "x.csv, row 4, column b_num: '12kg' is not a finite number"),
        (lambda rows: rows[3].__setitem__(4, ""), "x.csv, row 4: the label is empty"),
        (lambda rows: [row.__setitem__(4, "p") for row in rows], "one class only ('p')"),
        (lambda rows: [row.__setitem__(1, "") for row in rows], "'a_text' (text) is empty in every row"),
        (lambda rows: rows.__delitem__(slice(2, None)), "2 rows: training needs at least 10"),
    ],
    ids=["width", "number", "label", "one class", "empty modality", "two rows"],
)
def test_an_error_that_stops_training_names_its_row(write_csv: WriteCsv, change: object, message: str) -> None:
    rows = good_rows()
    change(rows)  # type: ignore[operator]
    inspection = inspected(write_csv("x.csv", [HEADER, *rows]))
    assert len(inspection.errors) == 1
    assert message in inspection.errors[0]
    with pytest.raises(UserError):
        inspection.raise_for_errors()


def test_many_bad_cells_of_a_column_are_one_finding_with_the_first_rows(write_csv: WriteCsv) -> None:
    rows = good_rows()
    for row in rows[2:10]:
        row[2] = "?"
    (error,) = inspected(write_csv("x.csv", [HEADER, *rows])).errors
    assert "row 3, column b_num" in error
    assert "(and 7 more: row 4, row 5, row 6, row 7, …)" in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[3].__setitem__(1, "two\nlines"), "column a_text: 1 cell with a newline"),
        (lambda rows: [row.__setitem__(3, row[0]) for row in rows], "column c_cat: mostly unique (24 values"),
        (lambda rows: rows[3].__setitem__(4, "rare"), "'rare' (1)"),
        (lambda rows: rows[3].__setitem__(0, "00"), "column ID: 1 ID more than once"),
        (lambda rows: rows[3].__setitem__(3, rows[2][3].upper()), "column c_cat: '"),
        (lambda rows: rows[3].__setitem__(1, "N/A"), "Set missing_values=N/A if they stand for missing ones"),
        (lambda rows: rows[3].__setitem__(4, rows[3][4].upper()), "are different classes. Spell them alike"),
        (
            lambda rows: [row.__setitem__(3, "1.10" if n else "1.1") for n, row in enumerate(rows)],
            "taken for one number",
        ),
    ],
    ids=["newline", "unique", "rare class", "repeated ID", "case", "like missing", "case of a label", "versions"],
)
def test_a_bad_prediction_to_come_is_a_warning(write_csv: WriteCsv, change: object, message: str) -> None:
    rows = good_rows(24)
    change(rows)  # type: ignore[operator]
    inspection = inspected(write_csv("x.csv", [HEADER, *rows]))
    assert inspection.errors == ()
    assert any(message in warning for warning in inspection.warnings), inspection.warnings


def test_shards_with_other_columns_are_refused_by_name(write_csv: WriteCsv) -> None:
    path = write_csv("data/1.csv", [HEADER, *good_rows()])
    write_csv("data/2.csv", [["ID", "a_text", "z_num", "c_cat", "label"], *good_rows()])
    (error,) = inspected(path.parent).errors
    assert "data/2.csv" in error
    assert "missing b_num; unexpected z_num" in error


def test_chunks_reach_the_sink_in_order_over_shards(write_csv: WriteCsv) -> None:
    path = write_csv("data/1.csv", [HEADER, *good_rows(300)])
    write_csv("data/2.csv", [HEADER, *good_rows(7)])
    sink = Collected()
    scan(find_sources(path.parent), sink=sink)
    assert [identity for chunk in sink.chunks for identity in chunk.ids] == [
        row[0] for count in (300, 7) for row in good_rows(count)
    ]


def numbered_rows(count: int = 60) -> list[list[str]]:
    return [[*row[:-1], f"{n * 1.37:.2f}"] for n, row in enumerate(good_rows(count))]


def test_numbers_are_a_regression_and_rare_ones_are_no_matter(write_csv: WriteCsv) -> None:
    inspection = inspected(write_csv("x.csv", [HEADER, *numbered_rows()]))
    assert inspection.problem_type == "regression"
    assert inspection.warnings == ()


def test_a_label_that_makes_classes_of_numbers_is_told(write_csv: WriteCsv) -> None:
    rows = numbered_rows()
    rows[5][-1] = "12 EUR"
    path = write_csv("x.csv", [HEADER, *rows])
    assert any("59 different numbers, but '12 EUR' is not one" in warning for warning in inspected(path).warnings)
    (error,) = scan(find_sources(path), problem_type="regression").errors
    assert "x.csv, row 6, column label: '12 EUR' is not a finite number" in error
