from __future__ import annotations

import csv
import io
import json

from hypothesis import given
from hypothesis import strategies as st

from multimodal_algo.config.inference import Field
from multimodal_algo.serving.decoding import Kind
from multimodal_algo.serving.encoding import Answer, encode

FIELDS = (Field.ID, Field.PREDICTED_LABEL, Field.PROBABILITIES)


def answer(identity: str = "7", label: str | None = "a", probabilities: list[float] | None = None) -> Answer:
    return {Field.ID: identity, Field.PREDICTED_LABEL: label, Field.PROBABILITIES: probabilities}


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=6))
def test_each_answer_is_exactly_one_line(rows: list[tuple[str, str]]) -> None:
    answers = [answer(identity, label) for identity, label in rows]
    encoded = encode(answers, FIELDS[:2], Kind.CSV, is_single=False)
    assert encoded.count(b"\n") == len(rows)
    assert b"\r" not in encoded
    assert len(list(csv.reader(io.StringIO(encoded.decode(), newline="")))) == len(rows)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_predicted_number_is_read_back_as_it_was(number: float) -> None:
    answers: list[Answer] = [{Field.PREDICTED_LABEL: number}]
    line = encode(answers, FIELDS[1:2], Kind.CSV, is_single=False).decode().strip()
    assert float(line) == number
    assert line == repr(number)
    entry = json.loads(encode(answers, FIELDS[1:2], Kind.JSON_LINES, is_single=True))
    assert entry == {"predicted_label": number}


def test_lists_are_json_in_a_cell_and_a_header_line_has_the_names() -> None:
    encoded = encode([{}, answer(probabilities=[0.25, 0.75]), answer(label=None)], FIELDS, Kind.CSV, is_single=False)
    assert list(csv.reader(io.StringIO(encoded.decode()))) == [
        ["ID", "predicted_label", "probabilities"],
        ["7", "a", "[0.25, 0.75]"],
        ["7", "", ""],
    ]


def test_a_single_empty_field_is_not_a_blank_line() -> None:
    assert encode([answer(label=None)], FIELDS[1:2], Kind.CSV, is_single=False) == b'""\n'


def test_json_is_a_list_of_predictions_or_one_object_per_line() -> None:
    answers = [answer(label="ü\n")]
    line = encode(answers, FIELDS, Kind.JSON_LINES, is_single=True)
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"ID": "7", "predicted_label": "ü\n", "probabilities": None}
    assert encode(answers, FIELDS, Kind.JSON, is_single=True) == line
    assert json.loads(encode(answers, FIELDS, Kind.JSON, is_single=False)) == {"predictions": [json.loads(line)]}
