from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from multimodal_algo.config.inference import InferenceOptions
from multimodal_algo.core.column_names import AS_WRITTEN
from multimodal_algo.core.decision import DecisionRule
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.core.task import Task
from multimodal_algo.ingest.rows import RowParser
from multimodal_algo.serving.deciding import Decider
from multimodal_algo.serving.decoding import Kind, Reading
from multimodal_algo.serving.loaded_model import RowAnswer
from multimodal_algo.serving.service import ModelService, ServedModel

SCHEMA = FeatureSchema(("ID", "label", "a_text", "b_num"))
FIELDS = {"SAGEMAKER_INFERENCE_OUTPUT": "id,predicted_label"}


class Stand:
    """A model whose label is "many" where the number is above 1."""

    schema = SCHEMA
    task = Task.of_classes(2)
    classes = ("few", "many")
    categories = None
    sketches = None
    names = AS_WRITTEN

    def __init__(self) -> None:
        self._parser = RowParser(SCHEMA.inference_columns)

    def start(self, rows: Sequence[Sequence[Any]]) -> list[Any]:
        return [self._parser.start(row) for row in rows]

    def image_bytes(self, cells: Sequence[Any]) -> int:
        return 0

    def encode(self, rows: Sequence[dict[str, Any]]) -> Any:
        return SimpleNamespace(numbers=[row["b_num"] for row in rows])

    def guarantees(self, options: InferenceOptions) -> None:
        return None

    def answer(self, features: Any, *, with_weights: bool = False, guarantees: None = None) -> list[RowAnswer]:
        return [RowAnswer(np.array([0.25, 0.75] if number > 1 else [1.0, 0.0])) for number in features.numbers]


def service(environment: dict[str, str] | None = None, *, is_batch: bool = True) -> ModelService:
    options = InferenceOptions.of({}, environment or {}, schema=SCHEMA, task=Stand.task, is_batch=is_batch)
    model = ModelService(lambda: ServedModel(Stand(), options, is_batch=is_batch), lambda: 0.0)  # type: ignore[arg-type]
    assert model.load()
    return model


def lines(model: ModelService, body: bytes, request: Reading = Reading(), kind: Kind = Kind.CSV) -> list[str]:  # noqa: B008
    return model.answer(body, kind, Kind.CSV, request).decode().splitlines()


def test_each_record_has_an_answer_and_headers_have_the_names() -> None:
    body = b"ID,a_text,b_num\n1,x,2\n\n2,y,many\nID,a_text,b_num\n3,z,0\n"
    assert lines(service(), body) == [
        "ID,predicted_label,probability",
        "1,many,0.750000",
        ",,",
        "2,,",
        "ID,predicted_label,probability",
        "3,few,1.000000",
    ]


def test_a_rule_leaves_rows_to_a_person_and_gives_its_best_guess() -> None:
    options = InferenceOptions.of({}, {}, schema=SCHEMA, task=Stand.task, is_batch=True, may_review=True)
    decider = Decider(DecisionRule({}, 0.8), Stand.classes, "bitte")
    model = ModelService(lambda: ServedModel(Stand(), options, is_batch=True, decider=decider), lambda: 0.0)  # type: ignore[arg-type]
    assert model.load()
    assert lines(model, b"ID,a_text,b_num\n1,x,2\n2,y,0\n3,z,many\n") == [
        "ID,predicted_label,probability,best_guess",
        "1,bitte,0.750000,many",
        "2,few,1.000000,few",
        "3,,,",
    ]


def test_another_order_is_read_by_name_on_endpoints_alone() -> None:
    body = b"b_num,label,a_text\n2,books,x\n"
    assert lines(service(is_batch=False), body)[1:] == [",many,0.750000"]
    with pytest.raises(UserError, match="line 1 is a header"):
        lines(service(), body)


@pytest.mark.parametrize(
    ("environment", "request_", "answer"),
    [
        ({"INFERENCE_ID": "absent"}, Reading(), "many,0.750000"),
        ({}, Reading(id_absent=True), "many,0.750000"),
        (FIELDS, Reading(id_absent=True), ",many"),
        (FIELDS | {"INFERENCE_ID": "absent"}, Reading(), ",many"),
    ],
)
def test_lines_without_id_get_answers_without_id(environment: dict[str, str], request_: Reading, answer: str) -> None:
    assert lines(service(environment), b"x,2\n", request_) == [answer]
    assert lines(service(environment), b"7,x,2\n", replace(request_, id_absent=False))[0].startswith("7,")


def test_a_line_without_id_is_a_bad_row_that_names_the_setting(caplog: pytest.LogCaptureFixture) -> None:
    assert lines(service(), b"x,2\n") == ["x,,"]
    assert "Set inference_id=absent, or INFERENCE_ID=absent" in caplog.text


def test_keys_that_are_not_columns_are_logged_once_or_make_bad_rows(caplog: pytest.LogCaptureFixture) -> None:
    body = b'{"ID": 1, "a_text": "x", "b_num": 2, "k": 1}\n' * 2 + b'{"ID": 2, "a_text": "x", "b_num": 2}\n' * 2
    with caplog.at_level(logging.WARNING):
        assert lines(service(), body, kind=Kind.JSON_LINES) == ["1,many,0.750000"] * 2 + ["2,many,0.750000"] * 2
    assert [record.getMessage() for record in caplog.records] == [
        "keys that are not columns of the model are ignored: 'k' (2 rows)"
    ]
    refused = lines(service({"UNKNOWN_KEYS": "error"}), body, kind=Kind.JSON_LINES)
    assert refused == ["1,,"] * 2 + ["2,many,0.750000"] * 2
