"""The commands as a user types them, without an account."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from click.testing import CliRunner

from multimodal_algo.aws.model import problems
from multimodal_algo.aws.registry import REPOSITORIES, _make_repository, image_names, pinned
from multimodal_algo.aws.session import Session
from multimodal_algo.cli import main

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:algorithm/multimodal"
ACCOUNT = "123456789012"
ROLE = "arn:aws:iam::123456789012:role/SageMaker"
TRAIN = ["--algorithm-arn", ARN, "--role", ROLE, "--train", "s3://b/train/", "--output", "s3://b/jobs"]
NETWORK = ["--subnets", "subnet-1,subnet-2", "--security-groups", "sg-1", "--resource-tag", "team=films"]
KEYS = ["--volume-kms-key", "volume-key", "--output-kms-key", "output-key"]
LINES = ["--model", "films", "--input", "s3://b/lines/", "--output", "s3://b/out"]


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["aws", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def requests_of(output: str) -> list[tuple[str, dict[str, Any]]]:
    """The requests that a dry run prints; other lines are docker's commands and results."""
    decoder, found, place = json.JSONDecoder(), [], output.find("{\n")
    while place >= 0:
        value, size = decoder.raw_decode(output[place:])
        found.append((value["operation"], value["request"]))
        place = output.find("{\n", place + size)
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", *TRAIN, "-p", "n_mins=30", "--validation", "s3://b/v", "--images", "s3://b/i"],
        ["train", *TRAIN, "--spot", "--checkpoints", "s3://b/checkpoints", "--instance-type", "ml.g5.xlarge"],
        ["train", *TRAIN, "--model", "s3://b/model.tar.gz", "--pretrained", "s3://b/networks/"],
        ["tune", *TRAIN, "--range", "n_epochs=20:200", "--model", "s3://b/model.tar.gz"],
        ["tune", *TRAIN, "--range", "n_epochs=20:200", "--objective", "accuracy", "--jobs", "4"],
        ["create-model", "films", "--algorithm-arn", ARN, "--artifact", "s3://b/model.tar.gz", "--role", ROLE],
        ["transform", *LINES, "--join-source", "Input", "--instance-type", "ml.g4dn.xlarge"],
        ["create-algorithm", "--registry", "123456789012", "--validate-in", "s3://b/v", "--role", ROLE],
        ["create-algorithm", "--training-image", "a", "--inference-image", "b", "--resource-tag", "team=films"],
        ["create-algorithm", "--registry", ACCOUNT, "--validate-in", "s3://b/v", "--role", ROLE, "--marketplace"],
        ["train", *TRAIN, *NETWORK, *KEYS, "--encrypt-traffic", "--keep-alive", "600", "--instance-count", "2"],
        ["tune", *TRAIN, "--range", "n_epochs=20:200", *NETWORK, "--instance-count", "2", "--sharded"],
        ["create-model", "films", "--algorithm-arn", ARN, "--artifact", "s3://b/m.tar.gz", "--role", ROLE, *NETWORK],
        ["transform", *LINES, *KEYS],
        ["deploy", "films", "--model", "films"],
        ["deploy", "films", "--model", "films", "--serverless", "--memory-mb", "4096"],
        ["deploy", "films", "--model", "films", "--async-output", "s3://b/a", "--scale", "0:4", *KEYS],
        ["deploy", "films", "--model", "films", "--instance-type", "ml.g5.xlarge", "--scale", "1:4"],
        ["invoke", "films", "s3://b/lines.csv", "--accept", "application/jsonlines"],
        ["delete-endpoint", "films"],
        ["push", "v1", "123456789012"],
    ],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
def test_a_dry_run_prints_requests_that_the_service_would_take(arguments: list[str]) -> None:
    found = requests_of(run(*arguments, "--dry-run", "--region", "eu-west-1"))
    assert found
    for operation, request in found:
        service, _, name = operation.partition(":")
        assert problems(name, request, service=service) == []


@pytest.mark.parametrize("command", [["train"], ["tune", "--range", "n_epochs=20:200"]], ids=lambda words: words[0])
def test_models_of_previous_jobs_are_channels(command: list[str]) -> None:
    previous = ["--model", "s3://b/model.tar.gz", "--pretrained", "s3://b/networks/"]
    [(_, request)] = requests_of(run(*command, *TRAIN, *previous, "--dry-run", "--region", "eu-west-1"))
    channels = request.get("TrainingJobDefinition", request)["InputDataConfig"]
    found = {entry["ChannelName"]: entry["DataSource"]["S3DataSource"]["S3Uri"] for entry in channels}
    assert found == {"train": "s3://b/train/", "model": "s3://b/model.tar.gz", "pretrained": "s3://b/networks/"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", *TRAIN, "-p", "n_minutes=3"], "Unknown hyperparameter 'n_minutes'"),
        (["train", *TRAIN, "--spot"], "give a prefix for checkpoints"),
        (["train", *TRAIN[:-1], "/tmp/jobs"], "does not match (https|s3)://"),
        (["tune", *TRAIN, "--range", "quality=toy"], "'quality' is not tunable"),
        (["create-model", "films", "--algorithm-arn", ARN, "--role", ROLE], "either --training-job or --artifact"),
        (["create-algorithm", "--validate-in", "s3://b/v"], "belong together"),
        (["transform", *LINES, "--max-payload-mb", "-1"], "at least 0"),
        (["transform", *LINES, "--instance-type", "g5"], "did you mean 'ml.g5.xlarge'"),
        (["push", "v1", "1234-5678-9012"], "did you mean 123456789012?"),
        (["train", *TRAIN, "-p", 'text_hyperparameters={"optim.lrr": 1}'], "did you mean 'optim.lr'"),
        (["train", *TRAIN, "--input-mode", "Pipe", "--instance-count", "2"], "which several instances cannot share"),
        (["create-algorithm", "--training-image", "a", "--inference-image", "b", "--marketplace"], "--validate-in and"),
        (["deploy", "films", "--model", "films", "--scale", "4"], "write it as LEAST:MOST"),
        (["deploy", "films", "--model", "films", "--scale", "1:4", "--no-wait"], "leave out --no-wait"),
        (["invoke", "films", "/no/such/file"], "cannot be read"),
    ],
)  # fmt: skip
def test_what_the_service_would_refuse_is_one_sentence(arguments: list[str], message: str) -> None:
    output = run(*arguments, "--dry-run", "--region", "eu-west-1", code=1)
    assert message in output
    assert "Traceback" not in output


def test_a_dry_run_of_push_prints_each_step() -> None:
    output = run("push", "v1", "123456789012", "--dry-run", "--region", "eu-west-1")
    host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    for repository in REPOSITORIES:
        assert f"docker tag {repository}:latest {host}/{repository}:v1\n" in output
        assert f"docker push {host}/{repository}:v1\n" in output
    assert f"docker login --username AWS --password-stdin {host}\n" in output


@pytest.mark.usefixtures("account")
def test_repositories_are_made_where_they_are_missing() -> None:
    session = Session("eu-west-1")
    for _ in range(2):
        for name in REPOSITORIES:
            _make_repository(session, name)
    found = boto3.client("ecr").describe_repositories()["repositories"]
    assert sorted(entry["repositoryName"] for entry in found) == sorted(REPOSITORIES)
    assert image_names(session, "v1", None).training == f"{found[0]['registryId']}.dkr.ecr.eu-west-1.amazonaws.com/" + (
        "multimodal-training:v1"
    )


def test_a_misspelled_region_is_reported_with_the_nearest() -> None:
    output = run("push", "v1", "123456789012", "--dry-run", "--region", "eu-west1", code=1)
    assert "did you mean 'eu-west-1'?" in output


@pytest.mark.usefixtures("account")
def test_an_algorithm_names_images_by_digest() -> None:
    session, digests = Session("eu-west-1"), []
    for name in REPOSITORIES:
        _make_repository(session, name)
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        layers = json.dumps({"schemaVersion": 2, "mediaType": kind, "layers": [{"digest": name}]})
        put = boto3.client("ecr").put_image(repositoryName=name, imageManifest=layers, imageTag="v1")
        digests.append(put["image"]["imageId"]["imageDigest"])
    images = pinned(session, image_names(session, "v1", None))
    assert [images.training.split("@")[1], images.inference.split("@")[1]] == digests
    assert pinned(session, images) == images
