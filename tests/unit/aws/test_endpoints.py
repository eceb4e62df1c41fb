"""Endpoints in an account of moto's, where it implements the calls. Its endpoints answer nothing of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.exceptions import ClientError
from click.testing import CliRunner
from moto_server import moto_server

from multimodal_algo.aws import endpoints
from multimodal_algo.aws.endpoints import Endpoint, Scaling
from multimodal_algo.aws.invocations import Invocation, wait_for_answer
from multimodal_algo.aws.session import Session
from multimodal_algo.cli import main
from multimodal_algo.core.errors import UserError

ROLE = "arn:aws:iam::123456789012:role/SageMaker"
ENDPOINT = Endpoint("films", "films-model", scaling=Scaling(1, 4, 60.0))


@pytest.fixture
def session(account: None) -> Session:
    boto3.client("sagemaker").create_model(ModelName="films-model", ExecutionRoleArn=ROLE)
    return Session("eu-west-1", report=lambda line: None)


def targets() -> list[dict[str, Any]]:
    client = boto3.client("application-autoscaling")
    return client.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]


def test_an_endpoint_is_deployed_scales_and_is_deleted_with_all_that_belongs_to_it(session: Session) -> None:
    endpoints.deploy(session, ENDPOINT)
    client = boto3.client("sagemaker")
    assert client.describe_endpoint(EndpointName="films")["EndpointStatus"] == "InService"
    assert [(target["MinCapacity"], target["MaxCapacity"]) for target in targets()] == [(1, 4)]

    endpoints.delete(session, "films")
    assert targets() == []
    assert client.list_endpoints()["Endpoints"] == client.list_endpoint_configs()["EndpointConfigs"] == []


def test_an_endpoint_without_scaling_is_deleted_too(session: Session) -> None:
    endpoints.deploy(session, Endpoint("films", "films-model"))
    endpoints.delete(session, "films")
    assert boto3.client("sagemaker").list_endpoints()["Endpoints"] == []


def test_an_endpoint_that_is_not_there_is_an_error(session: Session) -> None:
    with pytest.raises(UserError, match="DescribeEndpoint"):
        endpoints.delete(session, "films")


def test_records_in_s3_are_answered_in_s3(session: Session) -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket="bucket", Key="out/answer.out", Body=b"1,drama\n")
    answer = wait_for_answer(session, ("s3://bucket/out/answer.out", "s3://bucket/failures/a"), poll_s=0)
    assert answer == b"1,drama\n"
    s3.put_object(Bucket="bucket", Key="failures/b", Body=b"column price_num: '12kg'")
    with pytest.raises(UserError, match="The endpoint failed: column price_num: '12kg'"):
        wait_for_answer(session, ("s3://bucket/out/b.out", "s3://bucket/failures/b"), poll_s=0)
    with pytest.raises(UserError, match="There is no answer after 0 s"):
        wait_for_answer(session, ("s3://bucket/out/c.out", "s3://bucket/failures/c"), timeout_s=0, poll_s=0)


def test_a_request_is_not_larger_than_an_endpoint_takes() -> None:
    with pytest.raises(UserError, match="6291457 bytes, at most 6291456"):
        Invocation("films").send(Session("eu-west-1", dry_run=True), b"x" * (6 * 1024 * 1024 + 1))


def test_the_commands_deploy_invoke_and_delete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    (tmp_path / "lines.csv").write_text("7,a desk lamp\n")
    with moto_server() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        boto3.client("sagemaker").create_model(ModelName="films-model", ExecutionRoleArn=ROLE)
        results = {"results": [{"Body": "7,home,0.99\n", "ContentType": "text/csv"}], "region": "eu-west-1"}
        requests.post(f"{url}/moto-api/static/sagemaker/endpoint-results", json=results, timeout=60)

        def run(*arguments: str) -> str:
            done = CliRunner().invoke(main, ["aws", *arguments])
            assert done.exit_code == 0, done.output
            return done.output

        assert "endpoint films: InService" in run("deploy", "films", "--model", "films-model")
        assert run("invoke", "films", str(tmp_path / "lines.csv")) == "7,home,0.99\n"
        assert run("status", "films").startswith("endpoint films: InService")
        run("delete-endpoint", "films")
        with pytest.raises(ClientError):
            boto3.client("sagemaker").describe_endpoint(EndpointName="films")

        refused = CliRunner().invoke(
            main, ["aws", "create-algorithm", "--training-image", "a", "--inference-image", "b"]
        )
        assert refused.exit_code == 1
        assert "<" not in refused.output, "a server without the call answers with a web page"
        assert "It may lack this call" in refused.output


def test_a_dry_run_shows_the_size_of_a_body_alone(tmp_path: Path) -> None:
    (tmp_path / "lines.csv").write_text("7,a desk lamp\n")
    done = CliRunner().invoke(main, ["aws", "invoke", "films", str(tmp_path / "lines.csv"), "--dry-run"])
    assert json.loads(done.output)["request"]["Body"] == "14 bytes"
