"""Predictions are compared with labels in every form in which the project writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from multimodal_algo.config.inference import Field
from multimodal_algo.core.errors import UserError
from multimodal_algo.serving.decoding import Kind
from multimodal_algo.serving.encoding import Answer, encode
from multimodal_algo.tools.score import score_predictions

TRUTH = 'label,ID,a_text\ngood,1,"x, y"\nbad,2,"two\nlines"\ngood,3,z\nbad,4,\n'
# Three of four right, one of them in another spelling, and a row that could not be read.
PREDICTED: list[tuple[str, str | None, float | None]] = [
    ("1", " good", 0.9), ("2", "bad", 0.5), ("3", "good", 1.0), ("4", None, None),
]  # fmt: skip
DEFAULT = (Field.ID, Field.PREDICTED_LABEL, Field.PROBABILITY)


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text(TRUTH)
    return path


def answers() -> list[Answer]:
    labels = ["bad", "good"]
    return [
        {
            Field.ID: identity, Field.PREDICTED_LABEL: label, Field.PROBABILITY: probability, Field.LABELS: labels,
            Field.PROBABILITIES: None if label is None else [0.9, 0.1] if label == "bad" else [0.1, 0.9],
            Field.ERROR: None if label else "no such row",
        }
        for identity, label, probability in PREDICTED
    ]  # fmt: skip


def body(fields: tuple[Field, ...], kind: Kind, *, header: bool = False) -> bytes:
    return encode([*([{}] if header else []), *answers()], fields, kind, is_single=False)


@pytest.mark.parametrize("kind", [Kind.CSV, Kind.JSON, Kind.JSON_LINES])
@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        DEFAULT,
        DEFAULT[1:],
        DEFAULT[:2],
        DEFAULT[1:2],
        (Field.PROBABILITY, Field.PREDICTED_LABEL),
        (Field.ERROR, Field.PROBABILITIES, Field.LABELS, Field.ID),
        (Field.PREDICTED_LABEL, Field.ERROR),
    ],
)
def test_answers_of_every_form_are_scored(
    truth: Path, tmp_path: Path, kind: Kind, header: bool, fields: tuple[Field, ...]
) -> None:
    path = tmp_path / "lines.out"
    path.write_bytes(body(fields, kind, header=header))
    if kind is Kind.CSV and not header and fields not in (DEFAULT, DEFAULT[1:], DEFAULT[:2], DEFAULT[1:2]):
        with pytest.raises(UserError, match="cannot be known which field of a line is the predicted label"):
            score_predictions(path, truth)
        return
    outcome = score_predictions(path, truth)
    assert outcome.accuracy == 0.75
    assert outcome.summary == "3 of 4 right (75.0%), 1 of them without an answer"


@pytest.mark.parametrize("fields", [DEFAULT, DEFAULT[1:], DEFAULT[1:2]])
def test_records_that_were_joined_with_csv_answers_are_scored(
    truth: Path, tmp_path: Path, fields: tuple[Field, ...]
) -> None:
    records = ['1,"x, y"', "2,two lines", "3,z", "4,"]
    lines = body(fields, Kind.CSV).decode().splitlines()
    path = tmp_path / "lines.out"
    path.write_text("".join(f"{record},{line}\n" for record, line in zip(records, lines, strict=True)))
    assert score_predictions(path, truth).accuracy == 0.75


@pytest.mark.parametrize("holder", [{"SageMakerInput": [1]}, {"ID": "9", "a_text": "x"}])
def test_records_that_were_joined_with_json_answers_are_scored(
    truth: Path, tmp_path: Path, holder: dict[str, Any]
) -> None:
    entries = [{**holder, "SageMakerOutput": json.loads(line)} for line in body(DEFAULT, Kind.JSON_LINES).splitlines()]
    path = tmp_path / "lines.out"
    path.write_text("\n".join(map(json.dumps, entries)))
    assert score_predictions(path, truth).accuracy == 0.75


def test_the_answers_of_several_payloads_are_put_together(truth: Path, tmp_path: Path) -> None:
    for kind, whole in ((Kind.CSV, True), (Kind.JSON, False)):
        first = encode([{}, *answers()[:2]] if whole else answers()[:2], DEFAULT, kind, is_single=False)
        second = encode([{}, *answers()[2:]] if whole else answers()[2:], DEFAULT, kind, is_single=False)
        path = tmp_path / "lines.out"
        path.write_bytes(first + b"\n" + second)
        assert score_predictions(path, truth).accuracy == 0.75


def test_the_predictions_of_training_are_found_by_their_ids(truth: Path, tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(
        "ID,label,predicted_label,probability,probability_of_label\n"
        "4,bad,good,0.900000,0.100000\n1,good,good,0.900000,0.900000\n2,bad,bad,0.500000,0.500000\n"
    )
    assert score_predictions(path, truth).summary == "2 of 3 right (66.7%)"
    path.write_text("ID,label,predicted_label,error\n7,1.0,2.0,1.0\n")
    with pytest.raises(UserError, match="has no row with the ID '7'"):
        score_predictions(path, truth)


def test_the_predictions_of_training_without_ids_are_found_by_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a_num,label\n1,1.5\n2,2.5\n3,4\n")
    path = tmp_path / "predictions.csv"
    path.write_text("ID,label,predicted_label,error\n3,4.0,2.0,-2.0\n1,1.5,1.5,0.0\n2,2.5,2.5,0.0\n")
    summary = score_predictions(path, tmp_path / "train.csv").summary
    assert summary.startswith("3 of 3 rows, root mean squared error 1.1547,")


@pytest.mark.parametrize(
    ("predicted", "expected", "summary"),
    [
        (["1", "2.0", "1e0"], ["1.0", "2", "1"], "3 of 3 right"),
        (["True", "false", "TRUE"], ["true", "False", "true"], "3 of 3 right"),
        (["e\u0301t\u00e9 ", "x", "y"], ["\u00e9te\u0301", "x", "z"], "2 of 3 right"),
        (["01", "1", "x"], ["1", "1", "x"], "2 of 3 right"),
        (["two lines", "1", "x"], ['"two\nlines"', "1", "x"], "3 of 3 right"),
        (["1.0", "2", "x"], ["1", "2", "x"], "2 of 3 right"),
        (["9007199254740993", "1.5", "2"], ["9007199254740992", "1", "2"], "3 of 3 rows, root mean squared error"),
        (["1.25", "2", ""], ["1", "2", "3"], "2 of 3 rows, root mean squared error 0.176777"),
        (["", "", ""], ["1", "2", "3"], "no row has a prediction"),
        (["", "", ""], ["x", "y", "z"], "0 of 3 right (0.0%), 3 of them without an answer"),
    ],
)
def test_labels_are_compared_in_canonical_form(
    tmp_path: Path, predicted: list[str], expected: list[str], summary: str
) -> None:
    rows = "".join(f"{label},t\n" for label in expected)
    (tmp_path / "truth.csv").write_text(f"label,a_text\n{rows}", encoding="utf-8")
    lines: list[Answer] = [{Field.PREDICTED_LABEL: label} for label in predicted]
    path = tmp_path / "lines.out"
    path.write_bytes(encode(lines, (Field.PREDICTED_LABEL,), Kind.CSV, is_single=False))
    assert score_predictions(path, tmp_path / "truth.csv").summary.startswith(summary)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,good,0.9\n", "has 1 lines, .* has 4 rows: they do not belong together"),
        ("1,good,0.9\n2,bad,0.5\n9,good,1\n4,good,1\n", "line 3: the ID is '9', but .* has '3'"),
        ("7,good,0.9\n8,bad,0.5\n9,good,1\n6,good,1\n", "line 1: the ID is '7', but .* has '1'"),
        ('{"ID": "1", "probability": 0.5}\n' * 4, "has the fields ID, probability, but not predicted_label"),
        ('{"ID": "1"', "line 1: this is not JSON"),
    ],
)
def test_what_cannot_be_compared_is_reported(truth: Path, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "lines.out"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        score_predictions(path, truth)


def test_numbers_are_scored_as_a_regression_where_their_file_shows_it(tmp_path: Path) -> None:
    truth, predictions = tmp_path / "truth.csv", tmp_path / "predictions.csv"
    truth.write_text("label,a_text\n1,x\n2,y\n5,z\n")
    predictions.write_text("1.25\n2\n5\n")
    assert "root mean squared error" in score_predictions(predictions, truth).summary
    predictions.write_text("ID,label,predicted_label,error\n1,1,1,0\n2,2,2,0\n3,5,5,0\n")
    assert "root mean squared error" in score_predictions(predictions, truth).summary


def test_what_may_be_numbers_or_classes_is_asked_for(tmp_path: Path) -> None:
    truth, predictions = tmp_path / "truth.csv", tmp_path / "predictions.csv"
    truth.write_text("label,a_text\n1,x\n2,y\n5,z\n")
    predictions.write_text("1\n3\n5\n")
    with pytest.raises(UserError, match="Give --problem-type regression or --problem-type classes"):
        score_predictions(predictions, truth)
    assert score_predictions(predictions, truth, problem_type="classes").summary == "2 of 3 right (66.7%)"
    assert "root mean squared error" in score_predictions(predictions, truth, problem_type="regression").summary


REVIEWED = [("good", 0.9, "good"), ("__review__", 0.5, "good"), ("good", 1.0, "good"), ("", "", "")]


@pytest.mark.parametrize("with_ids", [True, False])
@pytest.mark.parametrize("with_header", [True, False])
def test_rows_left_to_a_person_are_counted_apart(
    truth: Path, tmp_path: Path, with_ids: bool, with_header: bool
) -> None:
    lines = [[*([str(number)] if with_ids else []), *map(str, row)] for number, row in enumerate(REVIEWED, start=1)]
    if with_header:
        lines.insert(0, [*(["ID"] if with_ids else []), "predicted_label", "probability", "best_guess"])
    path = tmp_path / "lines.csv.out"
    path.write_text("".join(",".join(line) + "\n" for line in lines))
    outcome = score_predictions(path, truth)
    assert outcome.summary == (
        "2 of 3 answered rows right (66.7%), 1 of them without an answer, 1 of 4 left to a person (25.0%)"
    )
    assert (outcome.accuracy, outcome.reviewed) == (2 / 3, 1 / 4)
    assert score_predictions(path, truth, review_label="bitte").accuracy == 2 / 4
