from __future__ import annotations

import pytest

from multimodal_algo.config.inference import Engine, Field, InferenceOptions
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.core.task import Task

SCHEMA = FeatureSchema(("ID", "a_text", "label"))
NO_ID = FeatureSchema(("a_text", "label"))
CLASSES = Task.of_classes(3)


def options(
    hyperparameters: dict[str, str],
    environment: dict[str, str],
    schema: FeatureSchema = SCHEMA,
    task: Task = CLASSES,
    is_batch: bool = True,
) -> InferenceOptions:
    return InferenceOptions.of(hyperparameters, environment, schema=schema, task=task, is_batch=is_batch)


def test_nothing_set_means_id_label_and_probability_and_bad_rows_by_the_kind_of_job() -> None:
    assert options({}, {}).fields == (Field.ID, Field.PREDICTED_LABEL, Field.PROBABILITY)
    assert options({}, {}, NO_ID, Task.regression()).fields == (Field.PREDICTED_LABEL,)
    assert not options({}, {}).refuse_bad_rows
    assert options({}, {}, is_batch=False).refuse_bad_rows
    assert options({}, {}).engine is Engine.AUTO


def test_the_environment_overrides_what_the_artifact_keeps() -> None:
    kept = {"inference_output": "predicted_label", "bad_rows": "error", "inference_engine": "torch"}
    kept |= {"inference_id": "absent", "unknown_keys": "error"}
    expected = InferenceOptions((Field.PREDICTED_LABEL,), True, Engine.TORCH, id_absent=True, refuse_unknown_keys=True)
    assert options(kept, {}) == expected
    environment = {
        "SAGEMAKER_INFERENCE_OUTPUT": " Labels, probabilities ", "BAD_ROWS": "Report", "INFERENCE_ENGINE": "onnx",
        "INFERENCE_ID": "present", "UNKNOWN_KEYS": "Ignore",
    }  # fmt: skip
    assert options(kept, environment) == InferenceOptions((Field.LABELS, Field.PROBABILITIES), False, Engine.ONNX)


def test_coverage_and_quantiles_come_from_the_artifact_or_the_environment() -> None:
    kept = options({"coverage": "0.8", "quantiles": "0.9,0.1"}, {})
    assert (kept.coverage, kept.quantiles, kept.quantile_names) == (0.8, (0.1, 0.9), ("0.1", "0.9"))
    wanted = options({"coverage": "0.8"}, {"COVERAGE": "0.95", "QUANTILES": " 0.25, 0.75"})
    assert (wanted.coverage, wanted.quantiles) == (0.95, (0.25, 0.75))
    assert options({}, {}).coverage == 0.9


def test_answers_to_lines_without_id_have_none_unless_a_setting_lists_it() -> None:
    assert options({}, {}).fields_of(id_absent=True) == (Field.PREDICTED_LABEL, Field.PROBABILITY)
    listed = options({}, {"SAGEMAKER_INFERENCE_OUTPUT": "id,predicted_label"})
    assert listed.fields_of(id_absent=True) == (Field.ID, Field.PREDICTED_LABEL)
    assert options({}, {}).fields_of(id_absent=False) == options({}, {}).fields


@pytest.mark.parametrize(
    ("environment", "schema", "task", "message"),
    [
        ({"SAGEMAKER_INFERENCE_OUTPUT": "score"}, SCHEMA, CLASSES, "asks for 'score'"),
        ({"SAGEMAKER_INFERENCE_OUTPUT": "error,error"}, SCHEMA, CLASSES, "lists a field twice"),
        ({"SAGEMAKER_INFERENCE_OUTPUT": "id"}, NO_ID, CLASSES, "without an ID column"),
        ({"SAGEMAKER_INFERENCE_OUTPUT": "labels"}, SCHEMA, Task.regression(), "predicts numbers"),
        ({"BAD_ROWS": "ignore"}, SCHEMA, CLASSES, "BAD_ROWS is 'ignore': it must be one of auto, report, error"),
        ({"INFERENCE_ENGINE": "tflite"}, SCHEMA, CLASSES, "INFERENCE_ENGINE is 'tflite'"),
        ({"INFERENCE_ID": "none"}, SCHEMA, CLASSES, "INFERENCE_ID is 'none': it must be one of present, absent"),
        ({"SAGEMAKER_INFERENCE_OUTPUT": "prediction_set"}, SCHEMA, Task.regression(), "predicts numbers"),
        ({"SAGEMAKER_INFERENCE_OUTPUT": "quantiles"}, SCHEMA, CLASSES, "asks for quantiles, but"),
        ({"COVERAGE": "90"}, SCHEMA, CLASSES, "COVERAGE is '90': it must be a number from 0.5 to 0.999."),
        ({"QUANTILES": "0.5,1"}, SCHEMA, CLASSES, "QUANTILES is '0.5,1': it must list numbers above 0 and below 1"),
        ({"UNKNOWN_KEYS": "drop"}, SCHEMA, CLASSES, "UNKNOWN_KEYS is 'drop': it must be one of ignore, error"),
    ],
)
def test_what_the_model_has_no_answer_for_is_reported(
    environment: dict[str, str], schema: FeatureSchema, task: Task, message: str
) -> None:
    with pytest.raises(UserError) as error:
        options({}, environment, schema, task)
    assert message in str(error.value)
