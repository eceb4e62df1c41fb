"""The pipeline of ``notebooks/pipeline.py`` has requests that SageMaker's own shapes allow, and can be created."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.validate import ParamValidator
from click.testing import CliRunner
from moto import mock_aws

from multimodal_algo.cli import main

SCRIPT = Path(__file__).parents[3] / "notebooks/pipeline.py"
ROLE = "arn:aws:iam::123456789012:role/SageMaker"
OPTIONS = (
    "--image", "123456789012.dkr.ecr.us-east-1.amazonaws.com/multimodal-inference:latest",
    "--lines", "s3://bucket/lines.csv", "--output", "s3://bucket/predictions",
)  # fmt: skip
OPERATIONS = {
    "Training": ("CreateTrainingJob", {"TrainingJobName": "x"}),
    "Model": ("CreateModel", {"ModelName": "x"}),
    "Transform": ("CreateTransformJob", {"TransformJobName": "x"}),
    "RegisterModel": ("CreateModelPackage", {}),
}


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    names = [
        "--algorithm-arn",
        "multimodal",
        "--role",
        ROLE,
        "--train",
        "s3://bucket/train/",
        "--output",
        "s3://b/jobs",
    ]
    result = CliRunner().invoke(main, ["aws", "train", *names, "-p", "n_mins=30", "--dry-run"])
    assert result.exit_code == 0, result.output
    path = tmp_path / "training.json"
    path.write_text(result.output)
    return path


def example(*arguments: str) -> None:
    runpy.run_path(str(SCRIPT))["main"](list(arguments))


def steps(definition: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in definition:
        yield step
        for branch in ("IfSteps", "ElseSteps"):
            yield from steps(step["Arguments"].get(branch, []))


def filled(value: Any) -> Any:
    """Return a request with a text in place of each value that the pipeline fills in."""
    if isinstance(value, dict):
        return "text" if {"Get", "Std:Join"} & set(value) else {name: filled(each) for name, each in value.items()}
    return [filled(each) for each in value] if isinstance(value, list) else value


def test_every_step_is_a_valid_request(training: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example(str(training), *OPTIONS)
    service = botocore.session.get_session().get_service_model("sagemaker")
    kinds = []
    for step in steps(json.loads(capsys.readouterr().out)["Steps"]):
        kinds.append(step["Type"])
        if step["Type"] in OPERATIONS:
            operation, name = OPERATIONS[step["Type"]]
            shape = service.operation_model(operation).input_shape
            problems = ParamValidator().validate(filled(step["Arguments"]) | name, shape)
            assert not problems.has_errors(), problems.generate_report()
    assert kinds == ["Training", "Condition", "Model", "Transform", "RegisterModel", "Fail"]


def test_the_pipeline_is_created_and_started(
    training: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        example(str(training), *OPTIONS, "--create", "shop")
        assert ":pipeline/shop/execution/" in capsys.readouterr().out
        described = boto3.client("sagemaker").describe_pipeline(PipelineName="shop")
    assert json.loads(described["PipelineDefinition"])["Steps"][0]["Name"] == "Train"
