from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from multimodal_algo.aws.endpoints import SCALING, Endpoint, Scaling, Serverless
from multimodal_algo.aws.model import problems
from multimodal_algo.aws.models import NewModel
from multimodal_algo.aws.protection import Protection
from multimodal_algo.aws.requests import (
    Training,
    Transform,
    Tuning,
    parameter_ranges,
)
from multimodal_algo.config.specification import specification
from multimodal_algo.config.transform import BatchStrategy, JoinSource, SplitType, TransformSettings
from multimodal_algo.core.errors import UserError

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:algorithm/multimodal"
ROLE = "arn:aws:iam::123456789012:role/SageMaker"
TRAINING = Training(ARN, ROLE, {"train": "s3://bucket/train/"}, "s3://bucket/output", {"quality": "light"})
TRANSFORM = Transform("model", "s3://bucket/lines/", "s3://bucket/answers")
PROTECTED = Protection(("subnet-1",), ("sg-1",), "volume-key", "output-key", True, {"team": "films"})
MODEL = NewModel("a-model", ARN, "s3://bucket/output/a-job/output/model.tar.gz", ROLE)
ENDPOINT = Endpoint("an-endpoint", "a-model")
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


@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        dataclasses.replace(
            MODEL, reports={"ModelQuality.Statistics": "s3://b/q", "Explainability.Report": "s3://b/e"}
        ),
        dataclasses.replace(MODEL, is_isolated=False, protection=PROTECTED),
    ],
)
def test_the_service_model_accepts_models(model: NewModel) -> None:
    assert problems("CreateModelPackage", model.package_request()) == []
    assert problems("CreateModel", model.request("a-package")) == []


@pytest.mark.parametrize(
    "endpoint",
    [
        ENDPOINT,
        dataclasses.replace(ENDPOINT, instance="ml.g5.xlarge"),
        dataclasses.replace(ENDPOINT, serverless=Serverless(2048, 10)),
        dataclasses.replace(ENDPOINT, async_output="s3://b/answers", scaling=Scaling(0, 4, 5.0), protection=PROTECTED),
        dataclasses.replace(ENDPOINT, scaling=Scaling(1, 4, 60.0)),
    ],
)
def test_the_service_model_accepts_endpoints(endpoint: Endpoint) -> None:
    assert problems("CreateEndpointConfig", endpoint.config_request()) == []
    assert problems("CreateEndpoint", endpoint.request()) == []
    for operation, request in endpoint.scaling_requests().items():
        assert problems(operation, request, service=SCALING) == []


def test_gpu_hosts_of_endpoints_have_a_driver_for_the_image() -> None:
    [variant] = dataclasses.replace(ENDPOINT, instance="ml.g5.xlarge").config_request()["ProductionVariants"]
    assert variant["InferenceAmiVersion"] == "al2-ami-sagemaker-inference-gpu-3-1"
    assert "InferenceAmiVersion" not in ENDPOINT.config_request()["ProductionVariants"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"serverless": Serverless(), "async_output": "s3://b/o"}, "leave the other options out"),
        ({"scaling": Scaling(0, 4, 1.0)}, "An asynchronous endpoint alone may have no instance"),
        ({"scaling": Scaling(5, 4, 1.0)}, "from 5 to 4 instances"),
        ({"instance": "m5"}, "did you mean 'ml.m5"),
        ({"instance": "ml.g5.xlarge", "protection": PROTECTED}, "the service refuses a key"),
    ],
)
def test_an_endpoint_that_the_service_would_refuse_is_reported(change: dict[str, Any], message: str) -> None:
    endpoint = dataclasses.replace(ENDPOINT, **change)
    with pytest.raises(UserError, match=message):
        endpoint.config_request() and endpoint.scaling_requests()


def test_network_keys_and_tags_are_in_each_request_that_knows_them() -> None:
    network = {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    tags = [{"Key": "team", "Value": "films"}]
    training = dataclasses.replace(TRAINING, protection=PROTECTED, count=2, keep_alive_s=600).request("a-job")
    assert training["VpcConfig"] == network
    assert training["Tags"] == tags
    assert training["ResourceConfig"]["VolumeKmsKeyId"] == "volume-key"
    assert training["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 600
    assert training["OutputDataConfig"]["KmsKeyId"] == "output-key"
    assert training["EnableInterContainerTrafficEncryption"]
    tuning = Tuning(dataclasses.replace(TRAINING, protection=PROTECTED, count=2), {"n_epochs": "9:99"}).request("a")
    assert tuning["Tags"] == tags
    assert tuning["TrainingJobDefinition"]["VpcConfig"] == network
    assert tuning["TrainingJobDefinition"]["ResourceConfig"]["InstanceCount"] == 2
    job = dataclasses.replace(TRANSFORM, protection=PROTECTED).request("a-job")
    assert job["TransformOutput"]["KmsKeyId"] == "output-key"
    assert job["TransformResources"]["VolumeKmsKeyId"] == "volume-key"
    requests = {"CreateTrainingJob": training, "CreateHyperParameterTuningJob": tuning, "CreateTransformJob": job}
    assert [problems(operation, request) for operation, request in requests.items()] == [[], [], []]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hyperparameters": {"text_hyperparameters": '{"optim.lrr": 1}'}}, "did you mean 'optim.lr'"),
        ({"hyperparameters": {"tabular_hyperparameters": '{"GBN": {}}'}}, "unknown key 'GBN'"),
        ({"input_mode": "Pipe", "count": 2}, "The channel 'train' comes by Pipe, which several instances"),
        ({"count": 2, "sharded": True, "hyperparameters": {"distribution": "off"}}, "distribution=off trains on one"),
        ({"hyperparameters": {"distill_from": "model"}}, "the job has no model channel"),
        ({"instance": "m5.xlarge"}, "did you mean 'ml.m5.xlarge'"),
        ({"spot": True, "keep_alive_s": 60}, "A warm pool does not take spot capacity"),
        ({"spot": True, "max_wait_s": 60}, "--max-wait is 60 s"),
        ({"protection": Protection(subnets=("subnet-1",))}, "give --security-groups too"),
        ({"protection": PROTECTED, "instance": "ml.g5.xlarge"}, "the service refuses a key"),
    ],
)
def test_a_job_that_would_fail_is_refused_before_it_costs_anything(change: dict[str, Any], message: str) -> None:
    job = dataclasses.replace(TRAINING, **change)
    with pytest.raises(UserError, match=message):
        job.request("a-job")
    with pytest.raises(UserError, match=message):
        Tuning(job, {"n_epochs": "9:99"}).request("a-search")


def test_a_buyer_of_the_marketplace_waits_for_spot_capacity_as_long_as_the_platform_wants() -> None:
    job = dataclasses.replace(TRAINING, spot=True, checkpoints="s3://b/c", max_runtime_s=3600, max_wait_s=3600)
    assert job.request("a-job")["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 3600}


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


def test_a_hyperparameter_is_set_or_searched() -> None:
    job = dataclasses.replace(TRAINING, hyperparameters={"n_epochs": "30"})
    with pytest.raises(UserError, match="The hyperparameter n_epochs has a value and a range"):
        Tuning(job, {"n_epochs": "20:200"}).request("a-search")


def test_an_objective_is_a_declared_one() -> None:
    with pytest.raises(UserError, match="'speed' is not one of accuracy"):
        Tuning(TRAINING, {"n_epochs": "10:20"}, objective="speed").request("a-search")
