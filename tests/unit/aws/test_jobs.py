"""Jobs in an account: moto's where it implements a call, botocore's Stubber where it does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from multimodal_algo.aws import jobs
from multimodal_algo.aws.algorithm import create
from multimodal_algo.aws.models import NewModel, create_model
from multimodal_algo.aws.requests import Training, Transform
from multimodal_algo.aws.session import Session
from multimodal_algo.aws.specification import Images
from multimodal_algo.core.errors import UserError

ROLE = "arn:aws:iam::123456789012:role/SageMaker"
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:algorithm/multimodal"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TRAINING = Training(ARN, ROLE, {"train": "s3://bucket/train/"}, "s3://bucket/output")

MODEL = NewModel("a-model", ARN, "s3://bucket/model.tar.gz", ROLE)


class RecordingSession(Session):
    """A session that records the lines for the user."""

    def __init__(self, **options: Any) -> None:
        self.lines: list[str]
        object.__setattr__(self, "lines", [])
        super().__init__("eu-west-1", report=self.lines.append, **options)


@pytest.fixture
def stubbed(account: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[RecordingSession, Stubber]]:
    session, client = RecordingSession(), boto3.client("sagemaker")
    monkeypatch.setattr(Session, "client", lambda self, service: client)
    with Stubber(client) as stubber:
        yield session, stubber
        stubber.assert_no_pending_responses()


def put_objects(*keys: str) -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for key in keys:
        s3.put_object(Bucket="bucket", Key=key, Body=key.encode())


@pytest.mark.usefixtures("account")
def test_a_training_job_is_started_waited_for_and_fetched(tmp_path: Path) -> None:
    session = RecordingSession()
    jobs.train(session, "a-job", TRAINING)
    jobs.wait(session, jobs.TRAINING, "a-job", poll_s=0)
    assert session.lines == ["training job a-job: Completed Completed"]
    artifact = jobs.artifact_of(session, "a-job")
    prefix = artifact.removeprefix("s3://bucket/").removesuffix("model.tar.gz")
    put_objects(f"{prefix}model.tar.gz", f"{prefix}output.tar.gz")
    found = jobs.download(session, "a-job", tmp_path)
    assert sorted(path.name for path in found) == ["model.tar.gz", "output.tar.gz"]
    assert (tmp_path / "model.tar.gz").read_text() == f"{prefix}model.tar.gz"


@pytest.mark.usefixtures("account")
def test_metrics_in_the_log_are_reported_while_waiting() -> None:
    logs, group, stream = boto3.client("logs"), "/aws/sagemaker/TrainingJobs", "a-job/algo-1-1"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    now = int(datetime.now(UTC).timestamp() * 1000)
    messages = ("2026 INFO text: fitted", "2026 INFO validation:accuracy=0.9323;")
    events = [{"timestamp": now, "message": message} for message in messages]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    session = RecordingSession()
    jobs.train(session, "a-job", TRAINING)
    jobs.wait(session, jobs.TRAINING, "a-job", poll_s=0)
    assert session.lines[1:] == ["    2026 INFO validation:accuracy=0.9323;"]


@pytest.mark.usefixtures("account")
def test_a_transform_jobs_answers_are_fetched(tmp_path: Path) -> None:
    session = RecordingSession()
    job = Transform("a-model", "s3://bucket/lines/", "s3://bucket/answers")
    boto3.client("sagemaker").create_model(ModelName="a-model", ExecutionRoleArn=ROLE)
    jobs.transform(session, "a-transform", job)
    put_objects("answers/x/lines.csv.out", "other/lines.csv.out")
    assert jobs.download(session, "a-transform", tmp_path) == [tmp_path / "x/lines.csv.out"]


def test_a_name_that_is_not_there_is_an_error(stubbed: tuple[RecordingSession, Stubber]) -> None:
    session, stubber = stubbed
    for operation in (
        "training_job",
        "transform_job",
        "hyper_parameter_tuning_job",
        "endpoint",
        "algorithm",
        "model_package",
    ):
        stubber.add_client_error(f"describe_{operation}", "ValidationException", "Requested resource not found.")
    with pytest.raises(UserError, match="is called 'nobody' in this account"):
        jobs.find(session, "nobody")


def test_a_failed_job_reports_its_whole_reason(stubbed: tuple[RecordingSession, Stubber]) -> None:
    session, stubber = stubbed
    reason = "AlgorithmError: " + "train.csv, row 7: 'price' is no number. " * 20
    for status, extra in (("InProgress", {}), ("Failed", {"FailureReason": reason})):
        stubber.add_response("describe_training_job", described(status) | extra, {"TrainingJobName": "a-job"})
    training = dataclasses.replace(jobs.TRAINING, log_group="")
    with pytest.raises(UserError) as caught:
        jobs.wait(session, training, "a-job", poll_s=0)
    assert reason in str(caught.value)
    assert session.lines == ["training job a-job: InProgress Training", "training job a-job: Failed Training"]


def test_status_has_metrics_artifact_and_cost(stubbed: tuple[RecordingSession, Stubber]) -> None:
    session, stubber = stubbed
    answer = described("Completed") | {
        "FinalMetricDataList": [{"MetricName": "validation:accuracy", "Value": 0.93, "Timestamp": NOW}],
        "BillableTimeInSeconds": 321,
    }
    stubber.add_response("describe_training_job", answer, {"TrainingJobName": "a-job"})
    assert list(jobs.summary(*jobs.find(session, "a-job"))) == [
        "training job a-job: Completed Training",
        "validation:accuracy = 0.9300",
        "artifact: s3://bucket/output/a-job/output/model.tar.gz",
        "billed: 321 s",
    ]


def test_the_algorithm_is_created_with_a_request_that_botocore_takes(stubbed: tuple[RecordingSession, Stubber]) -> None:
    session, stubber = stubbed
    stubber.add_response("create_algorithm", {"AlgorithmArn": ARN})
    assert create(session, "multimodal", Images("training", "inference")) == ARN


def test_a_failed_validation_reports_which_part_and_why(stubbed: tuple[RecordingSession, Stubber]) -> None:
    session, stubber = stubbed
    failed = {"Name": "sample-transform", "Status": "Failed", "FailureReason": "See job logs"}
    answer = {
        "AlgorithmName": "multimodal", "AlgorithmArn": ARN, "CreationTime": NOW, "AlgorithmStatus": "Failed",
        "TrainingSpecification": {
            "TrainingImage": "i", "SupportedTrainingInstanceTypes": ["ml.m5.large"],
            "TrainingChannels": [{"Name": "t", "SupportedContentTypes": ["c"], "SupportedInputModes": ["File"]}],
        },
        "AlgorithmStatusDetails": {"ValidationStatuses": [failed]},
    }  # fmt: skip
    stubber.add_response("describe_algorithm", answer, {"AlgorithmName": "multimodal"})
    with pytest.raises(UserError, match="sample-transform: See job logs"):
        jobs.wait(session, jobs.ALGORITHM, "multimodal", poll_s=0)


def test_a_model_is_made_of_a_package_of_the_algorithm(stubbed: tuple[RecordingSession, Stubber]) -> None:
    session, stubber = stubbed
    package = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/a-model"
    stubber.add_response("create_model_package", {"ModelPackageArn": package})
    stubber.add_response(
        "describe_model_package",
        {
            "ModelPackageName": "a-model", "ModelPackageArn": package, "CreationTime": NOW,
            "ModelPackageStatus": "Completed", "ModelPackageStatusDetails": {"ValidationStatuses": []},
        },
    )  # fmt: skip
    expected = {
        "ModelName": "a-model", "PrimaryContainer": {"ModelPackageName": package}, "ExecutionRoleArn": ROLE,
        "EnableNetworkIsolation": True,
    }  # fmt: skip
    stubber.add_response("create_model", {"ModelArn": package.replace("-package", "")}, expected)
    create_model(session, MODEL)


def test_a_refusal_of_the_service_is_one_sentence(stubbed: tuple[RecordingSession, Stubber]) -> None:
    session, stubber = stubbed
    stubber.add_client_error("create_training_job", "ResourceLimitExceeded", "The account-level limit is 0.")
    with pytest.raises(UserError, match=r"^CreateTrainingJob: The account-level limit is 0. \(ResourceLimitExceeded\)"):
        jobs.train(session, "a-job", TRAINING)


def test_a_dry_run_sends_nothing_and_needs_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    session = RecordingSession(dry_run=True)
    jobs.train(session, "a-job", TRAINING)
    create_model(session, MODEL)
    assert [line.split('"')[3] for line in session.lines] == [
        "sagemaker:CreateTrainingJob",
        "sagemaker:CreateModelPackage",
        "sagemaker:CreateModel",
    ]


def described(status: str) -> dict[str, Any]:
    return {
        "TrainingJobName": "a-job", "TrainingJobArn": ARN.replace("algorithm/multimodal", "training-job/a-job"),
        "TrainingJobStatus": status, "SecondaryStatus": "Training", "CreationTime": NOW,
        "ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/output/a-job/output/model.tar.gz"},
        "StoppingCondition": {}, "ResourceConfig": {"VolumeSizeInGB": 30},
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
    }  # fmt: skip


def test_a_running_job_is_stopped_and_one_that_has_ended_is_not(stubbed: tuple[RecordingSession, Stubber]) -> None:
    session, stubber = stubbed
    stubber.add_response("describe_training_job", described("InProgress"), {"TrainingJobName": "a-job"})
    stubber.add_response("stop_training_job", {}, {"TrainingJobName": "a-job"})
    assert jobs.stop(session, "a-job") is jobs.TRAINING
    stubber.add_response("describe_training_job", described("Completed"), {"TrainingJobName": "a-job"})
    with pytest.raises(UserError, match="The training job a-job has ended: it is Completed"):
        jobs.stop(session, "a-job")
