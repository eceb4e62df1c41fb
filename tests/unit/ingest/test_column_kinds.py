"""Tables with a user's own column names are read as those with suffixes, and their kinds are found from the cells."""

from __future__ import annotations

import base64
import io
import os
import re
import threading
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from small_job import WriteCsv

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.errors import UserError
from multimodal_algo.ingest.column_kinds import find_kinds, kind_of
from multimodal_algo.ingest.scan import scan
from multimodal_algo.ingest.sources import Source, TableFormat, find_sources, read_rows

OWN = ["sku", "title", "price", "colour", "url", "Category"]
SUFFIXED = ["ID", "title_text", "price_num", "colour_cat", "label"]
NAMES = {"label": "Category", "id": "sku", "columns": "url=drop"}


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(stream, "PNG")
    return stream.getvalue()


def rows(count: int = 60) -> list[list[str]]:
    return [
        [f"S{n}", f"a title of {n} words", f"{n}.5", "red" if n % 3 else "blue", f"https://x.org/{n}", "pq"[n % 2]]
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", " 2.5", "-3e5", "", "NaN"], "num"),
        ([str(n) for n in range(40)] + ["n/a"], "num"),
        (["01234", "99501", "00501"], "cat"),
        (["AB-1", "AB-2", "AB-3"], "cat"),
        (["red", "blue", "red", "", "red", "blue", "red"] * 4, "cat"),
        (["True", "False"] * 9, "cat"),
        ([f"a name {n}" for n in range(40)], "text"),
        (["a long sentence that says the same thing in each and every row " * 2] * 40, "text"),
        (["春が来た", "夏が来た", "秋が来た"] + [f"冬が来た{chr(0x4E00 + n)}" for n in range(40)], "text"),
        (["a.jpg", "b/c.png", ""], "image"),
        ([base64.b64encode(png()).decode(), "data:image/png;base64," + base64.b64encode(png()).decode()], "image"),
        ([png(), png()], "image"),
        (["", "", ""], "text"),
        ([f"{day}.12.2024" for day in range(1, 32)], "date:dmy"),
        ([f"2024-12-{day:02} 10:00:00" for day in range(1, 32)], "date:ymd"),
        ([f"{day:02}/12/2024" for day in range(1, 12)] * 10, "cat"),
    ],
)
def test_the_kind_of_a_column(cells: list[str], kind: str) -> None:
    assert kind_of(cells) == kind


def test_a_table_is_read_as_if_its_columns_had_suffixes(write_csv: WriteCsv, tmp_path: Path) -> None:
    own = write_csv("own/train.csv", [OWN, *rows(), [*rows()[0], "too many"], OWN, *rows(3)])
    pd.DataFrame(rows(), columns=OWN).to_parquet(tmp_path / "own.parquet")
    suffixed = write_csv("x.csv", [SUFFIXED, *([*row[:4], row[5]] for row in rows())])
    table = TableFormat.of(HyperParameters.parse(NAMES))
    kinds = find_kinds(table, own.parent).kinds
    assert kinds == {"title": "text", "price": "num", "colour": "cat"}
    assert find_kinds(table, tmp_path / "own.parquet").kinds == kinds
    parameters = HyperParameters.parse(NAMES)
    table = TableFormat.of(parameters.with_names(parameters.column_names.with_kinds(kinds)))
    expected = [row.fields for row in read_rows(Source(suffixed, "x.csv"))]
    (parquet,) = find_sources(tmp_path / "own.parquet", table)
    assert [row.fields for row in read_rows(parquet)] == expected
    inspection = scan(find_sources(own.parent, table))
    assert inspection.schema is not None
    assert inspection.schema.columns == tuple(SUFFIXED)
    assert inspection.rows == 63
    assert inspection.errors[0].startswith("own/train.csv, row 61: 7 fields instead of 6.")
    assert "repeats the header" in inspection.warnings[0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"label": "Categry"}, "x.csv: there is no column 'Categry' among 'sku', 'title',"),
        ({"label": "Categry"}, "'url', 'Category'. Is it 'Category'?"),
        ({"label": "Category", "id": "skuu"}, "there is no column 'skuu'"),
        ({"label": "Category", "columns": "titles=text"}, "there is no column 'titles'"),
    ],
)
def test_a_name_that_the_table_lacks_is_refused(write_csv: WriteCsv, values: dict[str, str], message: str) -> None:
    path = write_csv("x.csv", [OWN, *rows()])
    with pytest.raises(UserError, match=re.escape(message)):
        find_kinds(TableFormat.of(HyperParameters.parse(values)), path)


def test_kinds_are_found_only_where_a_name_or_auto_is_given(write_csv: WriteCsv) -> None:
    path = write_csv(
        "x.csv", [["title", "size_num", "label"], *([f"a title {n}", "3", "pq"[n % 2]] for n in range(40))]
    )
    assert find_kinds(TableFormat.of(HyperParameters.parse({})), path).kinds == {}
    assert find_kinds(TableFormat.of(HyperParameters.parse({"columns": "auto"})), path).kinds == {"title": "text"}


def dated(write_csv: WriteCsv, dates: list[str]) -> Path:
    return write_csv(
        "x.csv", [["released", "size_num", "kind"], *([each, "3", "pq"[n % 2]] for n, each in enumerate(dates))]
    )


def test_dates_are_found_and_read_as_numbers_from_csv_and_parquet(write_csv: WriteCsv, tmp_path: Path) -> None:
    parameters = HyperParameters.parse({"label": "kind"})
    path = dated(write_csv, [f"{1 + n % 28}.12.2024" for n in range(40)] + ["", "soon"])
    found = find_kinds(TableFormat.of(parameters), path)
    assert found.kinds == {"released": "date:dmy"}
    assert found.sentences[1] == (
        "released holds dates (dmy), which become the numbers released_days_num (since 1970-01-01), released_year_num, "
        "released_month_num and released_weekday_num (1 is Monday)"
    )
    table = TableFormat.of(parameters.with_names(parameters.column_names.with_kinds(found.kinds)))
    rows = [row.fields for row in read_rows(Source(path, "x.csv", table=table))]
    columns = [f"released_{part}_num" for part in ("days", "year", "month", "weekday")]
    assert rows[:2] == [[*columns, "size_num", "label"], ["20058", "2024", "12", "7", "3", "p"]]
    assert [row[:4] for row in rows[-2:]] == [[""] * 4] * 2
    frame = pd.read_csv(path, dtype={"size_num": str})
    frame["released"] = pd.to_datetime(frame["released"], format="%d.%m.%Y", errors="coerce")
    frame.to_parquet(tmp_path / "x.parquet")
    found = find_kinds(TableFormat.of(parameters), tmp_path / "x.parquet")
    assert found.kinds == {"released": "date:ymd"}
    table = TableFormat.of(parameters.with_names(parameters.column_names.with_kinds(found.kinds)))
    assert [row.fields for row in read_rows(Source(tmp_path / "x.parquet", "x", table=table))] == rows


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        (
            ["01/02/2024", "03/04/2024"],
            "no cell shows whether the day or the month comes first, for example '01/02/2024'.",
        ),
        (["soon", "later"], "it has the kind date, but cells are not dates, for example 'soon'."),
    ],
)
def test_dates_that_cannot_be_read_are_refused_where_dates_are_demanded(
    write_csv: WriteCsv, dates: list[str], message: str
) -> None:
    path = dated(write_csv, dates * 20)
    with pytest.raises(UserError, match=re.escape(f"x.csv, column released: {message}")):
        find_kinds(TableFormat.of(HyperParameters.parse({"label": "kind", "columns": "released=date"})), path)
    found = find_kinds(TableFormat.of(HyperParameters.parse({"label": "kind"})), path)
    assert found.kinds == {"released": "cat"}
    assert any("looks like dates" in sentence for sentence in found.sentences) == ("/" in dates[0])
    decided = TableFormat.of(HyperParameters.parse({"label": "kind", "columns": "released=date:mdy"}))
    assert find_kinds(decided, path).kinds == {}


def test_a_pipe_takes_own_names_whose_kinds_are_all_given(tmp_path: Path) -> None:
    pipe = tmp_path / "train_0"
    os.mkfifo(pipe)

    def read(columns: str) -> list[list[str]]:
        writer = threading.Thread(target=pipe.write_text, args=("title,released,kind\na b,2024-12-31,p\n",))
        writer.start()
        table = TableFormat.of(HyperParameters.parse({"label": "kind", "columns": columns}))
        assert find_kinds(table, pipe).kinds == {}
        try:
            return [row.fields for row in read_rows(find_sources(pipe, table)[0])]
        finally:
            writer.join()

    assert read("title=text,released=date:ymd")[1] == ["a b", "20088", "2024", "12", "2", "p"]
    with pytest.raises(UserError, match="Give the hyperparameter columns the kinds of title, released, or"):
        read("released=date")
