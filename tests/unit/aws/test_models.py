"""Models: a call that was interrupted goes on, and packages name what training measured."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from multimodal_algo.aws.models import NewModel, create_model
from multimodal_algo.aws.reports import write_reports
from multimodal_algo.aws.session import Session
from multimodal_algo.core.errors import UserError

ROLE = "arn:aws:iam::123456789012:role/SageMaker"
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:algorithm/multimodal"
PACKAGE = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/films"
MODEL = NewModel("films", ARN, "s3://bucket/job/output/model.tar.gz", ROLE)
METRICS = {
    "problem_type": "multiclass", "eval_metric": "log_loss", "rows": 40, "measured_on": "out-of-fold rows",
    "fused": {"log_loss": 0.5, "accuracy": 0.9}, "without": {"text": {"log_loss": 0.8}, "image": {}},
}  # fmt: skip


@pytest.fixture
def stubbed(account: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Session, list[str], Stubber]]:
    lines: list[str] = []
    client = boto3.client("sagemaker")
    monkeypatch.setattr(Session, "client", lambda self, service: client)
    with Stubber(client) as stubber:
        yield Session("eu-west-1", report=lines.append), lines, stubber
        stubber.assert_no_pending_responses()


def package(status: str = "Completed") -> dict[str, Any]:
    source = {"AlgorithmName": ARN, "ModelDataUrl": MODEL.artifact}
    return {
        "ModelPackageName": "films", "ModelPackageArn": PACKAGE, "CreationTime": datetime(2026, 1, 1, tzinfo=UTC),
        "ModelPackageStatus": status, "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "SourceAlgorithmSpecification": {"SourceAlgorithms": [source]},
    }  # fmt: skip


def test_a_call_that_was_interrupted_goes_on(stubbed: tuple[Session, list[str], Stubber]) -> None:
    session, lines, stubber = stubbed
    stubber.add_client_error("create_model_package", "ConflictException", "Model package films already exists.")
    stubber.add_response("describe_model_package", package("InProgress"))
    stubber.add_response("describe_model_package", package())
    stubber.add_client_error("create_model", "ValidationException", "Cannot create already existing model films.")
    described = {"ModelName": "films", "PrimaryContainer": {"ModelPackageName": PACKAGE}, "ModelArn": PACKAGE.replace(
        "-package", ""), "CreationTime": datetime(2026, 1, 1, tzinfo=UTC)}  # fmt: skip
    stubber.add_response("describe_model", described)
    create_model(session, MODEL)
    assert lines == [
        "model package films: it is there already",
        "model package films: Completed",
        "model films: it is there already",
    ]


@pytest.mark.parametrize(
    ("model", "status", "message"),
    [
        (
            dataclasses.replace(MODEL, artifact="s3://bucket/other.tar.gz"),
            "Completed",
            "There is another model package",
        ),
        (MODEL, "Failed", "failed in a previous call. Delete it: aws sagemaker delete-model-package"),
    ],
    ids=["another artifact", "failed"],
)
def test_what_stands_in_the_way_is_named_with_the_remedy(
    model: NewModel, status: str, message: str, stubbed: tuple[Session, list[str], Stubber]
) -> None:
    session, _, stubber = stubbed
    stubber.add_client_error("create_model_package", "ConflictException", "Model package films already exists.")
    stubber.add_response("describe_model_package", package(status))
    with pytest.raises(UserError, match=message):
        create_model(session, model)


@pytest.mark.usefixtures("account")
def test_reports_are_written_next_to_the_artifact() -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    content, archive = json.dumps(METRICS).encode(), io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("metrics.json")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    s3.put_object(Bucket="bucket", Key="job/output/output.tar.gz", Body=archive.getvalue())

    uris = write_reports(Session("eu-west-1"), MODEL.artifact)

    assert uris == {
        "ModelQuality.Statistics": "s3://bucket/job/output/model_quality.json",
        "Explainability.Report": "s3://bucket/job/output/explainability.json",
    }
    reports = {
        name: json.loads(s3.get_object(Bucket="bucket", Key=f"job/output/{name}.json")["Body"].read())
        for name in ("model_quality", "explainability")
    }
    accuracy = reports["model_quality"]["multiclass_classification_metrics"]["accuracy"]
    assert accuracy == {"value": 0.9, "standard_deviation": "NaN"}
    assert reports["explainability"]["modalities"] == {"text": pytest.approx(0.3)}


@pytest.mark.usefixtures("account")
def test_a_job_without_its_output_has_no_reports() -> None:
    lines: list[str] = []
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert write_reports(Session("eu-west-1", report=lines.append), MODEL.artifact) == {}
    assert lines[0].startswith("the model package has no metrics: ")
