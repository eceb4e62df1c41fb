"""``multimodal-algo validate`` makes the checks of training, with the hyperparameters of the job."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from small_job import WriteCsv

from multimodal_algo.cli import main

HEADER = ["ID", "a_text", "b_num", "label"]


def rows(count: int = 40) -> list[list[str]]:
    return [[str(n), f"words {n}", f"{n}.5", "pq"[n % 2]] for n in range(count)]


def validate(path: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["validate", str(path), *options])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-p", "eval_metric=rmse"], "eval_metric is rmse, but the labels ask for binary"),
        (["-p", 'class_weights={"rare": 5}'], "class_weights names 'rare', which is not a label of the data."),
        (["-p", "problem_type=regression"], "'p' is not a finite number"),
        (["--problem-type", "regression"], "'p' is not a finite number"),
        (["-p", "csv_delimiter=;"], "Leave the hyperparameter csv_delimiter out."),
    ],
)
def test_hyperparameters_that_do_not_suit_the_data_are_errors(
    write_csv: WriteCsv, options: list[str], message: str
) -> None:
    path = write_csv("x.csv", [HEADER, *rows()])
    assert validate(path).exit_code == 0
    result = validate(path, *options)
    assert result.exit_code == 1
    assert message in result.output
    assert "training would stop" in result.output


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('{"optim.lrr": 1}', "unknown key 'optim.lrr': did you mean 'optim.lr'?"),
        ('{"optim.lr": "fast"}', "it must be a number above 0"),
        ('{"model.sam.checkpoint_name": "x"}', "it is a network for segmentation"),
    ],
)
def test_keys_that_training_refuses_are_refused(write_csv: WriteCsv, value: str, message: str) -> None:
    result = validate(write_csv("x.csv", [HEADER, *rows()]), "-p", f"text_hyperparameters={value}")
    assert result.exit_code != 0
    assert message in result.output


def test_three_labels_are_not_binary(write_csv: WriteCsv) -> None:
    table = [[*row[:-1], "pqr"[n % 3]] for n, row in enumerate(rows())]
    result = validate(write_csv("x.csv", [HEADER, *table]), "-p", "problem_type=binary")
    assert "problem_type is binary, but there are 3 different labels, not 2." in result.output


@pytest.mark.parametrize(("delimiter", "value"), [(";", ";"), ("\t", "tab"), ("\t", "\\t"), ("|", "|")])
def test_another_separator_is_read(tmp_path: Path, delimiter: str, value: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text("\n".join(delimiter.join(row) for row in [HEADER, *rows()]))
    assert f"csv_delimiter to '{'tab' if delimiter == chr(9) else value}'" in validate(path).output
    assert "0 errors, 0 warnings, 40 rows" in validate(path, "-p", f"csv_delimiter={value}").output


def test_numbers_with_decimal_commas_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("\n".join(";".join(row).replace(".5", ",5") for row in [HEADER, *rows()]))
    assert "Write numbers with a decimal point" in validate(path, "-p", "csv_delimiter=;").output


def test_bad_rows_are_skipped_as_the_job_skips_them(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("\n".join([*(",".join(row) for row in [HEADER, *rows()]), '40,"27" wide",1.5,p', "41,a,1.5,q"]))
    assert "text follows the closing quote" in validate(path).output
    result = validate(path, "-p", "on_bad_row=skip", "-p", "max_bad_row_fraction=0.1")
    assert result.exit_code == 0
    assert "0 errors, 1 warning, 41 rows" in result.output


def test_columns_that_are_filled_in_rows_of_one_class_alone_are_an_error(write_csv: WriteCsv) -> None:
    table = [[*row[:2], row[2] if row[-1] == "p" else "", row[-1]] for row in rows()]
    result = validate(write_csv("x.csv", [HEADER, *table]))
    assert "The columns b_num are filled in 20 of 40 rows, which is too few to distinguish labels." in result.output
    table[1][2] = "1"
    assert validate(write_csv("x.csv", [HEADER, *table])).exit_code == 0


def test_files_that_are_passed_over_are_named(write_csv: WriteCsv) -> None:
    path = write_csv("train/x.csv", [HEADER, *rows()])
    (path.parent / "_SUCCESS").touch()
    assert "1 file is not data and passed over: _SUCCESS" in validate(path.parent).output


def test_joined_files_are_read_without_their_headers(tmp_path: Path) -> None:
    lines = [",".join(row) for row in rows()]
    header = ",".join(HEADER)
    path = tmp_path / "x.csv"
    path.write_text("\n".join([header, *lines[:20], f"\ufeff{header}", *lines[20:], header]))
    result = validate(path)
    assert "2 rows repeat the header, as in files that were joined, and are passed over: x.csv, row 21" in result.output
    assert "0 errors, 1 warning, 40 rows" in result.output
    path.write_text("\n".join([header, *lines, ",".join(reversed(HEADER)), *lines]))
    assert "x.csv, line 42: its header differs from that of x.csv (the order differs)" in validate(path).output


def test_shards_without_header_are_named_in_one_sentence(write_csv: WriteCsv) -> None:
    path = write_csv("train/a.csv", [HEADER, *rows()])
    for name in "bcd":
        write_csv(f"train/{name}.csv", rows())
    result = validate(path.parent)
    assert (
        "train/b.csv (and 2 more files): the first line is a row, and not the header line of train/a.csv"
        in result.output
    )
    assert "1 error," in result.output


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("40,a,1.5,p,", "since the line ends with a separator"),
        ('40,"say \\", then",1.5,p', "as Spark does by default"),
        ('40, "a, b",1.5,p', "since a blank stands before a quote"),
        ("40,a,1.5,pID,a_text,b_num,label", "since the header of another file follows on the same line"),
        ("40,a,b,1.5,p", "quote cells that hold commas"),
    ],
)
def test_the_cause_of_a_wrong_number_of_fields_is_named(tmp_path: Path, line: str, remedy: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text("\n".join([*(",".join(row) for row in [HEADER, *rows()]), line]))
    assert remedy in validate(path).output


def test_no_message_prints_a_long_cell(tmp_path: Path) -> None:
    long = "x" * 1000
    path = tmp_path / "x.csv"
    lines = [",".join(row) for row in rows()]
    for bad in (f"40,a,{long},p", f'40,"a"{long},1,p', f"{long},a,1,{long}", f"{long},a,1,p\n{long},a,1,p"):
        path.write_text("\n".join([",".join(HEADER), *lines, bad]))
        for options in ([], ["-p", "problem_type=regression"], ["-p", f'class_weights={{"{long}": 2}}']):
            assert "x" * 61 not in validate(path, *options).output
    path.write_text(f"{long},label\n{long},p\n")
    assert "x" * 61 not in validate(path).output


@pytest.mark.parametrize(
    "command", [["validate", "train/a.csv"], ["local", "train", "--output", "job", "--train", "train"]]
)
def test_a_disk_that_fails_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    # The first page of a process is not mapped, so the system answers a reader with EIO as a broken disk does.
    Path("train").mkdir()
    Path("train/a.csv").symlink_to("/proc/self/mem")
    result = CliRunner().invoke(main, command)
    assert (result.exit_code, result.output.strip().splitlines()[-1]) == (
        1,
        "Error: A disk of this machine fails (Input/output error). Start the job again, on another instance.",
    )


def test_labels_that_list_several_classes_are_a_warning(write_csv: WriteCsv) -> None:
    labels = ["Drama", "Comedy", "Comedy, Drama"]
    result = validate(write_csv("x.csv", [HEADER, *([*row[:-1], labels[n % 3]] for n, row in enumerate(rows(60)))]))
    assert "1 of 3 classes list several, for example 'Comedy, Drama'. One class a row is what" in result.output
    assert "Keep the main class of each row, or train one model for each class" in result.output
    assert result.exit_code == 0


def test_dates_are_noted_and_their_numbers_listed(write_csv: WriteCsv) -> None:
    table = [["sold", *HEADER[1:3], "kind"], *([f"{1 + n % 28}.12.2024", *row[1:]] for n, row in enumerate(rows()))]
    result = validate(write_csv("x.csv", table), "--label", "kind")
    assert "sold holds dates (dmy), which become the numbers sold_days_num (since 1970-01-01)" in result.output
    assert "sold_weekday_num" in result.output
    assert result.exit_code == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"\xef\xbb\xbf",
        b"label,a_text\n",
        b"label\nx\n",
        b"\x00" * 500,
        bytes(range(256)) * 4,
        b"[/red],[bold]\n",
    ],
    ids=["empty", "newlines", "mark", "header", "label", "zeros", "junk", "markup"],
)
@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.parquet"])
def test_no_file_ends_in_a_traceback(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    for options in ([], ["--problem-type", "regression"], ["--label", "kind", "--columns", "auto"]):
        result = validate(tmp_path / name, *options)
        assert (result.exit_code, type(result.exception)) == (1, SystemExit), result.output


@pytest.mark.parametrize("options", [[], ["-p", "on_bad_row=skip", "-p", "max_bad_row_fraction=1"]])
def test_a_regression_without_numbers_is_an_error(write_csv: WriteCsv, options: list[str]) -> None:
    result = validate(write_csv("x.csv", [HEADER, *rows()]), "--problem-type", "regression", *options)
    assert (result.exit_code, type(result.exception)) == (1, SystemExit), result.output


def test_amounts_as_labels_point_to_a_regression(write_csv: WriteCsv) -> None:
    table = [[*row[:-1], f"${number}.79"] for number, row in enumerate(rows())]
    path = write_csv("x.csv", [HEADER, *table])
    assert "'$0.79' are taken for classes. To predict the amount, a regression, write labels" in validate(path).output
    assert "Write amounts as plain numbers, here 0.79." in validate(path, "--problem-type", "regression").output


def test_the_channel_that_is_missing_is_named(write_csv: WriteCsv) -> None:
    table = [[*row, f"photos/{number}.jpg"] for number, row in enumerate(rows())]
    assert "--images FOLDER" in validate(write_csv("x.csv", [[*HEADER, "photo_image"], *table])).output


def test_messages_have_the_names_of_the_table(write_csv: WriteCsv) -> None:
    table = [
        ["kind", "price", "maker"],
        *([f"k{n % 2}", f"{n}.5", f"maker {n}"] for n in range(30)),
        ["k1", "12kg", "x"],
    ]
    options = ["--label", "kind", "--columns", "price=num,maker=cat"]
    output = validate(write_csv("x.csv", table), *options).output
    assert "column price: '12kg' is not a finite number" in output
    assert "column maker: mostly unique" in output
    assert "price_num" not in output


def test_all_columns_that_are_missing_are_named(write_csv: WriteCsv) -> None:
    path = write_csv("x.csv", [["kind", "price"], *([f"k{n % 2}", f"{n}.5"] for n in range(30))])
    output = validate(path, "--label", "knd", "--columns", "prise=num,size=num").output
    assert "there are no columns 'knd', 'prise', 'size' among 'kind', 'price'" in output
