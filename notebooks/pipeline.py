r"""A SageMaker pipeline: train, and where the accuracy suffices, make a model, transform lines and register the model.

The training step is the request of ``multimodal-algo aws train … --dry-run``. Example, with the names of your account:

    multimodal-algo aws train --algorithm-arn multimodal --role $ROLE --train s3://bucket/shop/train/ \
        --output s3://bucket/jobs -p quality=light -p n_mins=30 --dry-run > training.json
    python pipeline.py training.json --image $ACCOUNT.dkr.ecr.us-east-1.amazonaws.com/multimodal-inference:latest \
        --lines s3://bucket/shop/lines.csv --output s3://bucket/shop/predictions --create shop

Without ``--create`` it prints the definition, and needs no account.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

TRAIN, MODEL = "Train", "Model"
FORMATS = ["text/csv", "application/jsonlines", "application/json"]


def metric(name: str) -> dict[str, str]:
    """Return the place of a metric of the training job, which its log has on held-out rows."""
    return {"Get": f"Steps.{TRAIN}.FinalMetricDataList['validation:{name}'].Value"}


def definition(
    training: dict[str, Any], *, image: str, lines: str, output: str, group: str, least: float
) -> dict[str, Any]:
    """Return the definition of the pipeline.

    Parameters
    ----------
    training
        Request of ``CreateTrainingJob``.
    image
        Inference image.
    lines, output
        S3 URIs of the lines to transform, and of the prefix for answers.
    group
        Model package group, which must exist.
    least
        Default of the parameter ``LeastAccuracy``.
    """
    container = {"Image": image, "ModelDataUrl": {"Get": f"Steps.{TRAIN}.ModelArtifacts.S3ModelArtifacts"}}
    enough = {
        "Type": "GreaterThanOrEqualTo",
        "LeftValue": metric("accuracy"),
        "RightValue": {"Get": "Parameters.LeastAccuracy"},
    }
    model = {"ExecutionRoleArn": training["RoleArn"], "PrimaryContainer": container, "EnableNetworkIsolation": True}
    return {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "LeastAccuracy", "Type": "Float", "DefaultValue": least}],
        "Steps": [
            {
                "Name": TRAIN,
                "Type": "Training",
                # A pipeline names the job itself.
                "Arguments": {name: value for name, value in training.items() if name != "TrainingJobName"},
            },
            {
                "Name": "IsGoodEnough",
                "Type": "Condition",
                "Arguments": {
                    "Conditions": [enough],
                    "IfSteps": [
                        {"Name": MODEL, "Type": "Model", "Arguments": model},
                        {"Name": "Transform", "Type": "Transform", "Arguments": transform(lines, output)},
                        {"Name": "Register", "Type": "RegisterModel", "Arguments": registration(container, group)},
                    ],
                    "ElseSteps": [
                        {
                            "Name": "NotGoodEnough",
                            "Type": "Fail",
                            "Arguments": {"ErrorMessage": "The accuracy is below LeastAccuracy."},
                        }
                    ],
                },
            },
        ],
    }


def transform(lines: str, output: str) -> dict[str, Any]:
    """Return the request of ``CreateTransformJob`` for the model of the pipeline."""
    return {
        "ModelName": {"Get": f"Steps.{MODEL}.ModelName"},
        "TransformInput": {
            "ContentType": "text/csv",
            "SplitType": "Line",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": lines}},
        },
        "TransformOutput": {"S3OutputPath": output, "AssembleWith": "Line"},
        "TransformResources": {"InstanceType": "ml.m5.2xlarge", "InstanceCount": 1},
    }


def registration(container: dict[str, Any], group: str) -> dict[str, Any]:
    """Return the request of ``CreateModelPackage``, with the metrics of the job as properties."""
    return {
        "ModelPackageGroupName": group,
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": FORMATS,
            "SupportedResponseMIMETypes": FORMATS,
            "SupportedTransformInstanceTypes": ["ml.m5.2xlarge"],
            "SupportedRealtimeInferenceInstanceTypes": ["ml.m5.xlarge"],
        },
        "ModelApprovalStatus": "PendingManualApproval",
        "CustomerMetadataProperties": {
            name: {"Std:Join": {"On": "", "Values": [metric(name)]}} for name in ("accuracy", "log_loss")
        },
    }


def main(arguments: list[str] | None = None) -> None:
    """Print the definition, or create the pipeline."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("training", type=Path, help="Output of multimodal-algo aws train … --dry-run.")
    parser.add_argument("--image", required=True, help="Inference image.")
    parser.add_argument("--lines", required=True, help="S3 URI of lines to transform.")
    parser.add_argument("--output", required=True, help="S3 URI of the prefix for answers.")
    parser.add_argument("--group", default="multimodal", help="Model package group.")
    parser.add_argument("--least", type=float, default=0.8, help="Least accuracy of a model that is registered.")
    parser.add_argument("--create", metavar="NAME", help="Create the pipeline of this name, and start it.")
    given = parser.parse_args(arguments)
    training = json.loads(given.training.read_text(encoding="utf-8"))["request"]
    steps = definition(
        training, image=given.image, lines=given.lines, output=given.output, group=given.group, least=given.least
    )
    if given.create is None:
        print(json.dumps(steps, indent=2))
        return
    import boto3

    sagemaker = boto3.client("sagemaker")
    existing = sagemaker.list_model_package_groups(NameContains=given.group)["ModelPackageGroupSummaryList"]
    if given.group not in [each["ModelPackageGroupName"] for each in existing]:
        sagemaker.create_model_package_group(ModelPackageGroupName=given.group)
    sagemaker.create_pipeline(
        PipelineName=given.create,
        PipelineDefinition=json.dumps(steps),
        ClientRequestToken=f"{given.create}-0123456789012345678901234567",
        RoleArn=training["RoleArn"],
    )
    print(sagemaker.start_pipeline_execution(PipelineName=given.create)["PipelineExecutionArn"])


if __name__ == "__main__":
    main()
