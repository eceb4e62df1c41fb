from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from multimodal_algo.aws.model import problems
from multimodal_algo.aws.specification import (
    Images,
    Validation,
    create_algorithm_request,
    find_objective,
    metric_definitions,
    training_channels,
    transform_resources,
)
from multimodal_algo.config.channels import CHANNELS, MODEL, PRETRAINED, Channel
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.specification import specification
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.metrics import CLASSIFICATION, METRICS, REGRESSION, Metric
from multimodal_algo.report.metrics import Metrics, log_metrics
from multimodal_algo.training.rows import ChannelPaths

ROLE = "arn:aws:iam::123456789012:role/SageMaker"
METRIC = {"Name": "m", "Regex": "r"}
REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


def request() -> dict[str, Any]:
    images = Images(f"{REGISTRY}/multimodal-training:v1", f"{REGISTRY}/multimodal-inference:v1")
    return create_algorithm_request(
        "multimodal", images, Validation(ROLE, "s3://bucket/train/", "s3://bucket/lines/", "s3://bucket/output")
    )


def test_the_service_model_accepts_the_request() -> None:
    assert problems("CreateAlgorithm", request()) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda r: r.update(Colour="red"), "CreateAlgorithm: Colour is unknown."),
        (lambda r: r.pop("TrainingSpecification"), "CreateAlgorithm: TrainingSpecification is missing."),
        (lambda r: r.update(AlgorithmName="my algorithm"), "'my algorithm' does not match"),
        (lambda r: r.update(AlgorithmName="a" * 64), "64 characters, at most 63."),
        (lambda r: r.update(CertifyForMarketplace="yes"), "'yes' is not a boolean."),
        (lambda r: r["TrainingSpecification"].update(TrainingChannels=[]), "0 entries, at least 1."),
        (lambda r: r["TrainingSpecification"]["SupportedTrainingInstanceTypes"].append("ml.x"), "'ml.x' is not one of"),
        (lambda r: r["TrainingSpecification"]["MetricDefinitions"].extend([METRIC] * 40), "at most 40"),
    ],
)  # fmt: skip
def test_what_the_service_would_refuse_is_reported(change: Any, sentence: str) -> None:
    changed = copy.deepcopy(request())
    change(changed)
    assert any(sentence in problem for problem in problems("CreateAlgorithm", changed))


def test_no_declared_hyperparameter_is_required_and_each_default_is_accepted() -> None:
    declared = request()["TrainingSpecification"]["SupportedHyperParameters"]
    assert not any(entry["IsRequired"] for entry in declared)
    HyperParameters.parse({entry["Name"]: entry["DefaultValue"] for entry in declared if "DefaultValue" in entry})


def test_free_text_has_no_range_and_is_not_tunable() -> None:
    for entry in request()["TrainingSpecification"]["SupportedHyperParameters"]:
        assert ("Range" in entry) == (entry["Type"] != "FreeText")
        assert not (entry["IsTunable"] and entry["Type"] == "FreeText")


def test_the_declared_channels_are_those_that_training_reads_all_with_file_mode() -> None:
    declared = request()["TrainingSpecification"]["TrainingChannels"]
    assert [channel["Name"] for channel in declared] == [channel.name for channel in CHANNELS]
    assert [channel["Name"] for channel in declared if channel["IsRequired"]] == ["train"]
    assert all("File" in channel["SupportedInputModes"] for channel in declared)
    fields = {field.name for field in dataclasses.fields(ChannelPaths)}
    assert fields == {channel.name for channel in CHANNELS}


@pytest.mark.parametrize("channel", [MODEL, PRETRAINED], ids=lambda channel: channel.name)
def test_archives_are_files_as_they_are(channel: Channel) -> None:
    (declared,) = (entry for entry in training_channels() if entry["Name"] == channel.name)
    assert not declared["IsRequired"]
    assert declared["SupportedContentTypes"] == ["application/x-sagemaker-model"]
    assert declared["SupportedCompressionTypes"] == ["None"]
    assert declared["SupportedInputModes"] == ["File"]


def test_each_metric_that_training_computes_is_declared() -> None:
    names = [f"validation:{name}" for name in CLASSIFICATION | REGRESSION]
    assert [entry["Name"] for entry in metric_definitions()] == names
    assert len(names) == len(METRICS)


def test_a_tuning_job_may_optimise_every_metric_but_the_calibration_error() -> None:
    objectives = request()["TrainingSpecification"]["SupportedTuningJobObjectiveMetrics"]
    assert {entry["MetricName"]: entry["Type"] for entry in objectives} == {
        "validation:accuracy": "Maximize", "validation:balanced_accuracy": "Maximize",
        "validation:f1_macro": "Maximize", "validation:roc_auc": "Maximize", "validation:log_loss": "Minimize",
        "validation:rmse": "Minimize", "validation:mae": "Minimize", "validation:r2": "Maximize",
        "validation:average_precision": "Maximize", "validation:f1": "Maximize", "validation:precision": "Maximize",
        "validation:recall": "Maximize", "validation:mcc": "Maximize", "validation:brier": "Minimize",
        "validation:f1_weighted": "Maximize", "validation:precision_macro": "Maximize",
        "validation:precision_weighted": "Maximize", "validation:recall_macro": "Maximize",
        "validation:recall_weighted": "Maximize",
        "validation:median_absolute_error": "Minimize", "validation:mape": "Minimize",
        "validation:pearson": "Maximize", "validation:spearman": "Maximize",
    }  # fmt: skip
    with pytest.raises(UserError, match="'calibration_error' is not one of accuracy"):
        find_objective("calibration_error")


def test_an_objective_is_what_eval_metric_takes() -> None:
    (entry,) = (entry for entry in specification() if entry["Name"] == "eval_metric")
    (values,) = entry["Range"].values()
    assert set(values["Values"]) - {"auto"} == {metric.name for metric in METRICS if metric.is_objective}


@pytest.mark.parametrize("value", [0.25, 0.0, 123456.0, -3.5])
@pytest.mark.parametrize("suitable", [CLASSIFICATION, REGRESSION], ids=["classes", "numbers"])
def test_expressions_find_the_fused_value_in_the_log(
    suitable: Mapping[str, Metric], value: float, caplog: pytest.LogCaptureFixture
) -> None:
    names = list(suitable)
    fused = dict.fromkeys(names, value)
    metrics = Metrics(
        measured_on="validation", rows=5, problem_type="any", eval_metric=names[0], fused=fused,
        modalities={"text": dict.fromkeys(names, 9.0)}, without={}, fit_s=1.0, seconds=2.0,
    )  # fmt: skip
    with caplog.at_level("INFO"):
        log_metrics(metrics)
    found = {
        entry["Name"]: re.findall(entry["Regex"], caplog.text)
        for entry in metric_definitions()
        if re.search(entry["Regex"], caplog.text)
    }
    assert found.keys() == {metric.platform_name for metric in suitable.values()}
    assert all(np.allclose([float(text) for text in texts], [value]) for texts in found.values())


def test_the_validation_profile_has_only_what_the_platform_takes() -> None:
    (profile,) = request()["ValidationSpecification"]["ValidationProfiles"]
    assert {entry["InputMode"] for entry in profile["TrainingJobDefinition"]["InputDataConfig"]} == {"File"}
    assert "DataProcessing" not in profile["TransformJobDefinition"]
    assert profile["TransformJobDefinition"]["TransformResources"]["TransformAmiVersion"]


def test_gpu_hosts_of_transforms_have_a_driver_for_the_image() -> None:
    assert "TransformAmiVersion" in transform_resources("ml.g5.xlarge", 1)
    assert "TransformAmiVersion" not in transform_resources("ml.m5.xlarge", 1)
