from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from multimodal_algo.aws.model import problems
from multimodal_algo.aws.requests import (
    Training,
    Transform,
    Tuning,
    model_package_request,
    model_request,
    parameter_ranges,
)
from multimodal_algo.config.specification import specification
from multimodal_algo.config.transform import BatchStrategy, JoinSource, SplitType, TransformSettings
from multimodal_algo.core.errors import UserError

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:algorithm/multimodal"
ROLE = "arn:aws:iam::123456789012:role/SageMaker"
TRAINING = Training(ARN, ROLE, {"train": "s3://bucket/train/"}, "s3://bucket/output", {"quality": "light"})
TRANSFORM = Transform("model", "s3://bucket/lines/", "s3://bucket/answers")
TUNABLE = {entry["Name"]: entry for entry in specification() if entry["IsTunable"]}


def transform(**settings: Any) -> Transform:
    return dataclasses.replace(TRANSFORM, settings=TransformSettings(**settings))


@pytest.mark.parametrize(
    "job",
    [
        TRAINING,
        dataclasses.replace(TRAINING, spot=True, checkpoints="s3://bucket/checkpoints", hyperparameters={}),
        dataclasses.replace(TRAINING, input_mode="Pipe", channels={name: "s3://b/c" for name in ("train", "images")}),
        dataclasses.replace(TRAINING, instance="ml.g5.2xlarge", count=2, input_mode="FastFile"),
    ],
)
def test_the_service_model_accepts_training_jobs(job: Training) -> None:
    request = job.request("a-job")
    assert problems("CreateTrainingJob", request) == []
    assert request["EnableNetworkIsolation"]


@pytest.mark.parametrize(
    ("mode", "images", "model"),
    [("File", "File", "File"), ("FastFile", "FastFile", "File"), ("Pipe", "File", "File")],
)
def test_channels_come_as_they_declare(mode: str, images: str, model: str) -> None:
    channels = {name: f"s3://b/{name}" for name in ("train", "images", "model", "pretrained")}
    job = dataclasses.replace(TRAINING, input_mode=mode, channels=channels)
    request = job.request("a-job")
    assert problems("CreateTrainingJob", request) == []
    found = {entry["ChannelName"]: entry["InputMode"] for entry in request["InputDataConfig"]}
    assert found == {"train": mode, "images": images, "model": model, "pretrained": model}


def test_rows_are_dealt_to_instances_and_other_channels_go_to_each() -> None:
    channels = {name: f"s3://b/{name}" for name in ("train", "validation", "images", "model")}
    request = dataclasses.replace(TRAINING, count=4, sharded=True, channels=channels).request("a-job")
    assert problems("CreateTrainingJob", request) == []
    assert {
        entry["ChannelName"]: entry["DataSource"]["S3DataSource"]["S3DataDistributionType"]
        for entry in request["InputDataConfig"]
    } == {
        "train": "ShardedByS3Key", "validation": "ShardedByS3Key", "images": "FullyReplicated",
        "model": "FullyReplicated",
    }  # fmt: skip


def test_archives_have_their_content_type() -> None:
    job = dataclasses.replace(TRAINING, channels={"train": "s3://b/t", "model": "s3://b/m", "pretrained": "s3://b/p"})
    entries = {entry["ChannelName"]: entry for entry in job.request("a-job")["InputDataConfig"]}
    types = {name: entry["ContentType"] for name, entry in entries.items()}
    model = "application/x-sagemaker-model"
    assert types == {"train": "text/csv", "model": model, "pretrained": model}
    assert not any("CompressionType" in entry for entry in entries.values())


@pytest.mark.parametrize("spot", [False, True])
def test_checkpoints_are_synchronised_where_training_writes_them(spot: bool) -> None:
    request = dataclasses.replace(TRAINING, spot=spot, checkpoints="s3://b/checkpoints").request("a-job")
    assert request["CheckpointConfig"] == {"S3Uri": "s3://b/checkpoints", "LocalPath": "/opt/ml/checkpoints"}
    assert request.get("EnableManagedSpotTraining", False) is spot
    assert "CheckpointConfig" not in TRAINING.request("a-job")


def test_a_job_is_refused_here_for_hyperparameters_that_training_would_refuse_there() -> None:
    with pytest.raises(UserError, match="qualty"):
        dataclasses.replace(TRAINING, hyperparameters={"qualty": "toy"}).request("a-job")


@pytest.mark.parametrize(
    "job",
    [
        TRANSFORM,
        dataclasses.replace(TRANSFORM, instance="ml.g4dn.xlarge", count=4),
        transform(strategy=BatchStrategy.SINGLE_RECORD),
        transform(input_filter="$[1:]", output_filter="$[0,-1]", join_source=JoinSource.INPUT),
        transform(max_payload_mb=0, split_type=SplitType.NONE, env={"BAD_ROWS": "error"}),
    ],
)  # fmt: skip
def test_the_service_model_accepts_transform_jobs(job: Transform) -> None:
    assert problems("CreateTransformJob", job.request("a-job")) == []


def test_the_service_model_accepts_models() -> None:
    artifact = "s3://bucket/output/a-job/output/model.tar.gz"
    assert problems("CreateModelPackage", model_package_request("a-model", ARN, artifact)) == []
    assert problems("CreateModel", model_request("a-model", "a-package", ROLE)) == []


def test_the_service_model_accepts_tuning_jobs_over_all_that_can_be_tuned() -> None:
    ranges = {}
    for name, entry in TUNABLE.items():
        (span,) = entry["Range"].values()
        ranges[name] = ",".join(span["Values"]) if "Values" in span else f"{span['MinValue']}:{span['MaxValue']}"
    request = Tuning(TRAINING, ranges).request("a-search")
    assert problems("CreateHyperParameterTuningJob", request) == []
    declared = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert {entry["Name"] for entries in declared.values() for entry in entries} == set(TUNABLE)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({}, "Give a range of at least one of"),
        ({"class_weights": "even,balanced"}, "'class_weights' is not tunable"),
        ({"n_epochs": "20"}, "'20', is not LOW:HIGH"),
        ({"n_epochs": "20:10"}, "'20:10', is not LOW:HIGH"),
        ({"min_completeness": "0:7"}, "min_completeness"),
    ],
)
def test_a_range_that_the_platform_would_refuse_is_reported(ranges: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parameter_ranges(ranges)


def test_an_objective_is_a_declared_one() -> None:
    with pytest.raises(UserError, match="'speed' is not one of accuracy"):
        Tuning(TRAINING, {"n_epochs": "10:20"}, objective="speed").request("a-search")
