from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import pytest

from multimodal_algo.aws.model import problems
from multimodal_algo.aws.specification import (
    CLASSIFICATION_METRICS,
    OBJECTIVES,
    REGRESSION_METRICS,
    Images,
    Validation,
    channels,
    create_algorithm_request,
    metric_definitions,
    metric_name,
    transform_resources,
)
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.metrics import CLASSIFICATION, REGRESSION
from multimodal_algo.report.metrics import Metrics, log_metrics
from multimodal_algo.sagemaker import config

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
    ("change", "told"),
    [
        (lambda r: r.update(Colour="red"), "CreateAlgorithm: Colour is unknown."),
        (lambda r: r.pop("TrainingSpecification"), "CreateAlgorithm: TrainingSpecification is missing."),
        (lambda r: r.update(AlgorithmName="my algorithm"), "'my algorithm' does not match"),
        (lambda r: r.update(AlgorithmName="a" * 64), "64 characters, at most 63."),
        (lambda r: r.update(CertifyForMarketplace="yes"), "'yes' is no boolean."),
        (lambda r: r["TrainingSpecification"].update(TrainingChannels=[]), "0 entries, at least 1."),
        (lambda r: r["TrainingSpecification"]["SupportedTrainingInstanceTypes"].append("ml.x"), "'ml.x' is none of"),
        (lambda r: r["TrainingSpecification"]["MetricDefinitions"].extend([METRIC] * 40), "at most 40"),
    ],
)  # fmt: skip
def test_what_the_service_would_refuse_is_told(change: Any, told: str) -> None:
    changed = copy.deepcopy(request())
    change(changed)
    assert any(told in problem for problem in problems("CreateAlgorithm", changed))


def test_no_declared_hyperparameter_is_required_and_each_default_is_accepted() -> None:
    declared = request()["TrainingSpecification"]["SupportedHyperParameters"]
    assert not any(entry["IsRequired"] for entry in declared)
    HyperParameters.parse({entry["Name"]: entry["DefaultValue"] for entry in declared})


def test_free_text_has_no_range_and_is_not_tunable() -> None:
    for entry in request()["TrainingSpecification"]["SupportedHyperParameters"]:
        assert ("Range" in entry) == (entry["Type"] != "FreeText")
        assert not (entry["IsTunable"] and entry["Type"] == "FreeText")


def test_the_declared_channels_are_those_that_training_reads_all_with_file_mode() -> None:
    assert [channel["Name"] for channel in channels()] == [
        config.TRAIN_CHANNEL,
        config.VALIDATION_CHANNEL,
        config.IMAGES_CHANNEL,
        config.MODEL_CHANNEL,
        config.PRETRAINED_CHANNEL,
    ]
    assert all("File" in channel["SupportedInputModes"] for channel in channels())


@pytest.mark.parametrize("name", [config.MODEL_CHANNEL, config.PRETRAINED_CHANNEL])
def test_archives_are_files_as_they_are(name: str) -> None:
    (declared,) = (entry for entry in channels() if entry["Name"] == name)
    assert not declared["IsRequired"]
    assert declared["SupportedContentTypes"] == ["application/x-sagemaker-model"]
    assert declared["SupportedCompressionTypes"] == ["None"]
    assert declared["SupportedInputModes"] == ["File"]


def test_each_metric_that_training_computes_is_declared() -> None:
    assert set(CLASSIFICATION_METRICS) == set(CLASSIFICATION)
    assert set(REGRESSION_METRICS) == set(REGRESSION)
    known = CLASSIFICATION | REGRESSION
    assert all((direction == "Maximize") == known[name].greater_is_better for name, direction in OBJECTIVES.items())


@pytest.mark.parametrize("value", [0.25, 0.0, 123456.0, -3.5])
@pytest.mark.parametrize("names", [CLASSIFICATION_METRICS, REGRESSION_METRICS])
def test_expressions_find_the_fused_value_in_the_log(
    names: tuple[str, ...], value: float, caplog: pytest.LogCaptureFixture
) -> None:
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
    assert found.keys() == {metric_name(name) for name in names}
    assert all(np.allclose([float(text) for text in texts], [value]) for texts in found.values())


def test_the_validation_profile_has_only_what_the_platform_takes() -> None:
    (profile,) = request()["ValidationSpecification"]["ValidationProfiles"]
    assert {entry["InputMode"] for entry in profile["TrainingJobDefinition"]["InputDataConfig"]} == {"File"}
    assert "DataProcessing" not in profile["TransformJobDefinition"]
    assert profile["TransformJobDefinition"]["TransformResources"]["TransformAmiVersion"]


def test_gpu_hosts_of_transforms_have_a_driver_for_the_image() -> None:
    assert "TransformAmiVersion" in transform_resources("ml.g5.xlarge", 1)
    assert "TransformAmiVersion" not in transform_resources("ml.m5.xlarge", 1)
