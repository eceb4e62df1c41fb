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
    assert options(kept, {}) == InferenceOptions((Field.PREDICTED_LABEL,), True, Engine.TORCH)
    environment = {
        "SAGEMAKER_INFERENCE_OUTPUT": " Labels, probabilities ", "BAD_ROWS": "Report", "INFERENCE_ENGINE": "onnx",
    }  # fmt: skip
    assert options(kept, environment) == InferenceOptions((Field.LABELS, Field.PROBABILITIES), False, Engine.ONNX)


@pytest.mark.parametrize(
    ("environment", "schema", "task", "message"),
    [
        ({"SAGEMAKER_INFERENCE_OUTPUT": "score"}, SCHEMA, CLASSES, "asks for 'score'"),
        ({"SAGEMAKER_INFERENCE_OUTPUT": "error,error"}, SCHEMA, CLASSES, "lists a field twice"),
        ({"SAGEMAKER_INFERENCE_OUTPUT": "id"}, NO_ID, CLASSES, "without an ID column"),
        ({"SAGEMAKER_INFERENCE_OUTPUT": "labels"}, SCHEMA, Task.regression(), "predicts numbers"),
        ({"BAD_ROWS": "ignore"}, SCHEMA, CLASSES, "BAD_ROWS is 'ignore': it must be one of auto, report, error"),
        ({"INFERENCE_ENGINE": "tflite"}, SCHEMA, CLASSES, "INFERENCE_ENGINE is 'tflite'"),
    ],
)
def test_what_the_model_has_no_answer_for_is_reported(
    environment: dict[str, str], schema: FeatureSchema, task: Task, message: str
) -> None:
    with pytest.raises(UserError) as error:
        options({}, environment, schema, task)
    assert message in str(error.value)
