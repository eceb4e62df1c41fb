"""The hyperparameters that change how a model answers. The artifact stores them for inference."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from multimodal_algo.config.inference import (
    GREATEST_COVERAGE,
    LEAST_COVERAGE,
    BadRows,
    Engine,
    InferenceId,
    UnknownKeys,
)
from multimodal_algo.core.aims import REVIEW

_TUNABLE = {"tunable": True}


class AnswerSettings(BaseModel):
    """Hyperparameters that change how a model answers. A field's description is its documentation for users."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    positive_class: str = Field(
        "",
        description="Of two classes, the class that is sought. precision, recall, f1, average_precision and a "
        "decision_threshold without a class refer to it. The default is the rarer class.",
    )
    decision_threshold: str = Field(
        "",
        description="Least probability with which the positive class is answered: a number, f1, precision>=0.95, "
        'recall>=0.9, or cost:{"false_positive":1,"false_negative":20}. Or JSON with one of them by class, for example '
        '{"rare": "recall>=0.9"}. Except for a number, training chooses the probability on held-out rows. '
        "DECISION_THRESHOLD overrides it in inference.",
    )
    abstain_below: float = Field(
        0,
        ge=0,
        le=1,
        description="Least probability of an answer. Rows below it are answered with review_label. "
        "ABSTAIN_BELOW overrides it in inference.",
    )
    target_accuracy: float = Field(
        0,
        ge=0,
        le=0.9999,
        description="Promised share of right answers among the rows that are answered, for example 0.98. Training "
        "chooses the least probability of an answer on held-out rows. Rows below it are answered with review_label. 0 "
        "answers all rows. TARGET_ACCURACY overrides it in inference.",
    )
    review_label: str = Field(
        REVIEW,
        description="Answer to rows that are left to a person, because they do not reach a threshold. It must not be "
        "a class of the data. REVIEW_LABEL overrides it in inference.",
    )
    inference_output: str = Field(
        "",
        description="Fields of an answer, separated by commas: id, predicted_label, probability, probabilities, "
        "labels, modality_weights, prediction_set, prediction_interval, quantiles, novelty, reasons, best_guess, "
        "error. The default is id if the data has one, predicted_label, and probability for classes. The artifact "
        "stores this setting. The environment variable SAGEMAKER_INFERENCE_OUTPUT overrides it.",
    )
    coverage: float = Field(
        0.9,
        ge=LEAST_COVERAGE,
        le=GREATEST_COVERAGE,
        description="Share of new rows whose true label is to be in the answer's prediction_set or "
        "prediction_interval. The artifact stores this setting. The environment variable COVERAGE overrides it.",
    )
    quantiles: str = Field(
        "0.1,0.5,0.9",
        description="Levels of the field quantiles of a regression, separated by commas, each above 0 and below 1. The "
        "artifact stores this setting. The environment variable QUANTILES overrides it.",
    )
    bad_rows: BadRows = Field(
        BadRows.AUTO,
        description="Treatment of rows that cannot be read, in inference. report: the answer has their ID and empty "
        "fields. error: the request is refused. auto is report in batch transform and error on endpoints. The "
        "artifact stores this setting. The environment variable BAD_ROWS overrides it.",
    )
    inference_id: InferenceId = Field(
        InferenceId.PRESENT,
        description="Whether inference lines have the ID that training had. absent: lines have no ID. The artifact "
        "stores this setting. The environment variable INFERENCE_ID overrides it.",
    )
    unknown_keys: UnknownKeys = Field(
        UnknownKeys.IGNORE,
        description="Treatment of keys of JSON rows that are not columns, in inference. ignore: such keys are counted "
        "and logged. error: a row with such a key is a bad row. The artifact stores this setting. The environment "
        "variable UNKNOWN_KEYS overrides it.",
    )
    inference_engine: Engine = Field(
        Engine.AUTO,
        description="Engine of the networks: torch, onnx (ONNX Runtime), openvino or tensorrt. auto is openvino or "
        "onnx on a CPU and torch on a GPU. The artifact stores this setting. In inference, the environment variable "
        "INFERENCE_ENGINE overrides it.",
    )
