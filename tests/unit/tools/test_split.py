"""Tables are split by class, with linked rows on one side, and in the format that they have."""

from __future__ import annotations

import base64
import csv
import gzip
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from small_job import WriteCsv

from multimodal_algo.cli import main
from multimodal_algo.tools.dealing import NO_CLASS, bins_of_numbers, deal, linked_groups

HEADER = ["sku", "title", "sold", "shop", "url", "kind"]


def rows(count: int = 100) -> list[list[str]]:
    return [
        [f"S{n}", f"a title, no. {n}", f"{1 + n % 28}.12.2024", f"shop {n % 25}", f"x.org/{n}", "aaab"[n % 4]]
        for n in range(count)
    ]


def split(path: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["split", str(path), *options])


def table(path: Path) -> list[list[str]]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return list(csv.reader(io.StringIO(text, newline="")))


def test_each_class_has_its_share_and_lines_have_the_columns_that_are_used(write_csv: WriteCsv, tmp_path: Path) -> None:
    path = write_csv("shop.csv", [HEADER, *rows()])
    result = split(path, "--label", "kind", "--id", "sku", "--columns", "url=drop,title=text")
    assert result.output.splitlines()[:3] == ["class   train    test", "a          60      15", "b          20       5"]
    train, test = table(tmp_path / "shop_train.csv"), table(tmp_path / "shop_test.csv")
    assert train[0] == test[0] == HEADER
    assert Counter(map(tuple, train[1:] + test[1:])) == Counter(map(tuple, rows()))
    assert Counter(row[-1] for row in test[1:]) == {"a": 15, "b": 5}
    assert table(tmp_path / "shop_test_noheader.csv") == [row[:4] for row in test[1:]]
    before = (tmp_path / "shop_test.csv").read_bytes()
    split(path, "--label", "kind", "--id", "sku", "--seed", "1")
    assert (tmp_path / "shop_test.csv").read_bytes() != before
    split(path, "--label", "kind", "--id", "sku")
    assert (tmp_path / "shop_test.csv").read_bytes() == before


def test_rows_of_one_group_and_rows_with_one_content_are_on_one_side(write_csv: WriteCsv, tmp_path: Path) -> None:
    path = write_csv("shop.csv", [HEADER, *rows()])
    result = split(path, "--label", "kind", "--group", "shop", "--test", "0.4")
    shops = [{row[3] for row in table(tmp_path / f"shop_{side}.csv")[1:]} for side in ("train", "test")]
    assert shops[0].isdisjoint(shops[1])
    assert "100 rows share their content or group with another row" in result.output
    twice = [[*row[:1], f"{row[1].upper()} ", *row[2:]] for row in rows()]
    path = write_csv("twice.csv", [HEADER, *rows(), *twice])
    assert "200 rows share their content" in split(path, "--label", "kind", "--id", "sku").output
    sides = [{row[0] for row in table(tmp_path / f"twice_{side}.csv")[1:]} for side in ("train", "test")]
    assert sides[0].isdisjoint(sides[1])


def test_formats_stay_what_they_are(write_csv: WriteCsv, tmp_path: Path) -> None:
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(write_csv("x.csv", [HEADER, *rows()]).read_bytes()))
    assert split(packed, "--label", "kind").exit_code == 0
    assert len(table(tmp_path / "packed_test.csv.gz")) == 21
    frame = pd.DataFrame(rows(), columns=HEADER).assign(photo=[{"bytes": bytes([n]), "path": ""} for n in range(100)])
    frame["sold"] = pd.to_datetime(frame["sold"], format="%d.%m.%Y")
    frame.to_parquet(tmp_path / "frame.parquet")
    assert split(tmp_path / "frame.parquet", "--label", "kind", "--columns", "photo=image").exit_code == 0
    parts = [pd.read_parquet(tmp_path / f"frame_{side}.parquet") for side in ("train", "test")]
    joined = pd.concat(parts).sort_values("sku", ignore_index=True)
    pd.testing.assert_frame_equal(joined, frame.sort_values("sku", ignore_index=True))
    lines = table(tmp_path / "frame_test_noheader.csv")
    assert [len(line) for line in lines] == [6] * 20
    assert {line[-1] for line in lines} <= {base64.b64encode(bytes([n])).decode() for n in range(100)}


def test_a_folder_becomes_one_pair_of_files(write_csv: WriteCsv, tmp_path: Path) -> None:
    for part in range(2):
        write_csv(f"shop/{part}.csv", [HEADER, *rows()[part::2]])
    assert split(tmp_path / "shop", "--label", "kind").exit_code == 0
    assert [len(table(tmp_path / f"shop_{side}.csv")) for side in ("train", "test")] == [81, 21]


def test_numbers_are_dealt_by_their_tenths_and_empty_labels_train(write_csv: WriteCsv, tmp_path: Path) -> None:
    numbers = [["x_num", "label"], *([str(n), f"{n / 7:.3f}" if n % 50 else ""] for n in range(500))]
    result = split(write_csv("n.csv", numbers))
    assert "class" not in result.output
    labels = [row[1] for row in table(tmp_path / "n_test.csv")[1:]]
    assert "" not in labels
    assert abs(len(labels) - 98) <= 5
    assert np.histogram([float(label) for label in labels], bins=5)[0].min() > 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "there is no column 'label' among 'sku', 'title',"),
        (["--label", "kinds"], "'shop', 'url', 'kind'. Is it 'kind'?"),
        (["--label", "kind", "--group", "shops"], "there is no column 'shops'"),
        (["--label", "kind", "--test", "20"], "--test 20: give the share of the test rows, between 0 and 1."),
        (["--label", "kind", "--group", "kind"], "100 rows in 2 groups cannot be split with --test 0.2."),
    ],
)  # fmt: skip
def test_mistakes_are_named(write_csv: WriteCsv, options: list[str], message: str) -> None:
    result = split(write_csv("x.csv", [HEADER, *rows()]), *options)
    assert result.exit_code == 1
    assert message in result.output


def test_a_row_that_cannot_be_read_is_named(write_csv: WriteCsv) -> None:
    result = split(write_csv("x.csv", [["a_num", "label"], ["1", "p"], ["1", "p", "q"]]))
    assert "x.csv, row 2 (line 3): 3 fields instead of 2." in result.output


def test_rows_are_linked_through_others() -> None:
    every = np.arange(5)
    keys = [
        (every, np.array([1, 2, 1, 3, 4], dtype=np.uint64)),
        (every[2:4], np.array([9, 9], dtype=np.uint64)),
    ]
    assert linked_groups(5, keys).tolist() == [0, 1, 0, 0, 4]


def test_rows_are_dealt_by_group_and_class() -> None:
    classes = np.array([0] * 50 + [1] * 10 + [NO_CLASS] * 5)
    in_test = deal(classes, np.arange(65), 0.3, seed=0)
    assert [int(in_test[classes == each].sum()) for each in (0, 1, NO_CLASS)] == [15, 3, 0]
    assert bins_of_numbers(np.arange(100.0)).tolist() == [n // 10 for n in range(100)]
