from __future__ import annotations

from pathlib import Path

import botocore.session
import pytest
from botocore.validate import ParamValidator

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.specification import specification, specification_json, specification_markdown
from multimodal_algo.core.errors import UserError

ROOT = Path(__file__).parents[3]


def test_nothing_set_means_the_guides_defaults() -> None:
    parsed = HyperParameters.parse({})
    assert (parsed.budget_s, parsed.n_epochs, parsed.quality) == (300, 50, "toy")
    assert not parsed.sets_budget


@pytest.mark.parametrize(
    ("values", "budget_s"),
    [
        ({"n_secs": "30"}, 30),
        ({"n_hours": "1"}, 3600),
        ({"n_mins": "2", "n_secs": "30"}, 150),
        ({"n_mins": "0", "n_secs": "15"}, 15),
        ({"n_hours": "0", "n_secs": "0.5"}, 0.5),
        ({"n_hours": "None", "n_mins": "null", "n_secs": ""}, 300),
    ],
)
def test_the_budget_is_the_sum_of_the_parts_that_are_set(values: dict[str, str], budget_s: float) -> None:
    assert HyperParameters.parse(values).budget_s == budget_s


@pytest.mark.parametrize(
    "values",
    [
        {"n_epochs": "30", "quality": "light", "n_secs": "None"},
        {"n_epochs": "30", "quality": '"light"', "n_secs": "null"},
        {"n_epochs": "30.0", "quality": " light ", "n_secs": ""},
        {"n_epochs": 30, "quality": "light", "n_secs": '"null"'},
    ],
)
def test_the_dialects_of_the_platforms_clients_mean_the_same(values: dict[str, object]) -> None:
    parsed = HyperParameters.parse(values)
    assert (parsed.n_epochs, parsed.quality, parsed.n_secs) == (30, "light", None)


def test_what_the_platform_and_its_clients_add_is_passed_over() -> None:
    HyperParameters.parse({"_tuning_objective_metric": "validation:accuracy", "sagemaker_region": '"us-east-1"'})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_epoch": "3"}, "did you mean 'n_epochs'"),
        ({"Quality": "toy"}, "did you mean 'quality'"),
        ({"zzz": "3"}, "known are n_hours"),
        ({"n_mins": "-1"}, "n_mins is '-1': it must be a number from 0"),
        ({"n_epochs": "2.5"}, "n_epochs is '2.5': it must be an integer from 1 to 10000"),
        ({"n_epochs": "many"}, "it must be an integer"),
        ({"n_mins": "nan"}, "n_mins is 'nan'"),
        ({"quality": "lite"}, "did you mean 'light'"),
        ({"n_mins": "0"}, "add up to 0 seconds"),
        ({"n_hours": "0", "n_mins": "0", "n_secs": "0"}, "add up to 0 seconds"),
    ],
)
def test_a_wrong_hyperparameter_is_reported_with_what_is_right(values: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        HyperParameters.parse(values)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("file", "generated"),
    [
        ("hyperparameter_specification.json", specification_json()),
        ("docs/hyperparameters.md", specification_markdown()),
    ],
)
def test_the_written_specification_is_what_the_model_generates(file: str, generated: str) -> None:
    assert (ROOT / file).read_text(encoding="utf-8") == generated, "run `make spec`"


def test_the_platforms_own_model_accepts_the_specification() -> None:
    shape = (
        botocore.session.get_session()
        .get_service_model("sagemaker")
        .shape_for("TrainingSpecification")
        .members["SupportedHyperParameters"]
    )
    report = ParamValidator().validate(specification(), shape)
    assert not report.has_errors(), report.generate_report()
    known = set(shape.member.members)
    for entry in specification():
        assert set(entry) <= known
        assert not entry["IsRequired"]
        assert isinstance(entry.get("DefaultValue", ""), str)
        assert entry["Type"] != "FreeText" or ("Range" not in entry and not entry["IsTunable"])


def test_every_default_of_the_specification_parses_to_the_default() -> None:
    defaults = {entry["Name"]: entry["DefaultValue"] for entry in specification() if "DefaultValue" in entry}
    assert HyperParameters.parse(defaults) == HyperParameters()


def test_the_parts_of_the_budget_have_no_default_that_a_client_could_send() -> None:
    without = {entry["Name"] for entry in specification() if "DefaultValue" not in entry}
    assert without == {"n_hours", "n_mins", "n_secs"}


@pytest.mark.parametrize(
    "value",
    [
        '{"rare": 5, "1": 2.5}',
        "{'rare': 5, '1': 2.5}",
        "{'rare': 5, 1: 2.5}",
        " {'rare' : 5,'1':2.5,} ",
        "\"{'rare': 5, '1': 2.5}\"",
        '"{\\"rare\\": 5, \\"1\\": 2.5}"',
        {"rare": 5, 1: 2.5},
    ],
)
def test_an_object_is_read_as_json_and_as_python_prints_it(value: object) -> None:
    assert HyperParameters.parse({"class_weights": value}).class_weights_by_label() == {"rare": 5, "1": 2.5}


def test_python_words_inside_an_object_are_read() -> None:
    parsed = HyperParameters.parse({"text_hyperparameters": "{'WIDE': {'C': 3, 'pieces': True, 'x': (1, None)}}"})
    assert parsed.customised("text_hyperparameters") == {"WIDE": {"C": 3, "pieces": True, "x": [1, None]}}


@pytest.mark.parametrize("value", ["{'rare': open('x')}", "{'rare'}", "{rare: 5}", "{'rare': 0}", "['rare']", "(" * 99])
def test_what_is_neither_json_nor_a_dict_is_named(value: str) -> None:
    with pytest.raises(UserError, match="class_weights is"):
        HyperParameters.parse({"class_weights": value})


@pytest.mark.parametrize(
    ("value", "delimiter"),
    [(";", ";"), ("|", "|"), ("tab", "\t"), ("\t", "\t"), ("\\t", "\t"), ('"\\t"', "\t"), ('";"', ";"), ("", ",")],
)
def test_a_separator_arrives_in_any_dialect(value: str, delimiter: str) -> None:
    assert HyperParameters.parse({"csv_delimiter": value}).delimiter == delimiter
