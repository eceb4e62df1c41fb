"""The algorithm resource, declared once: channels, metrics, formats and instances of ``CreateAlgorithm``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multimodal_algo import __version__
from multimodal_algo.aws.model import enum_of
from multimodal_algo.config.hyperparameters import specification
from multimodal_algo.core.errors import UserError

BATCH_AMI = "al2-ami-sagemaker-batch-gpu-535"
"""The batch transform hosts whose driver (CUDA 12.2) the inference image's CUDA 12 build runs on.

Source: API, ``TransformResources``; the default host has CUDA 11.4.
"""

OBJECTIVES: Mapping[str, str] = {
    "accuracy": "Maximize",
    "balanced_accuracy": "Maximize",
    "f1_macro": "Maximize",
    "roc_auc": "Maximize",
    "log_loss": "Minimize",
    "rmse": "Minimize",
    "mae": "Minimize",
    "r2": "Maximize",
}
"""Metrics that a tuning job may have as objective, and their directions."""

CLASSIFICATION_METRICS = ("accuracy", "log_loss", "f1_macro", "balanced_accuracy", "roc_auc", "calibration_error")
REGRESSION_METRICS = ("rmse", "mae", "r2")

REQUEST_TYPES = (
    "text/csv", "application/jsonlines", "application/json", "application/x-parquet",
)  # fmt: skip
RESPONSE_TYPES = ("text/csv", "application/jsonlines", "application/json")

MODEL_TYPE = "application/x-sagemaker-model"
"""Content type of channels that hold an artifact (incremental-training)."""

_NUMBER = r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?"
_CPU_FAMILIES = ("m5", "m6i", "m7i", "c5", "c6i", "c7i", "r6i", "r7i")
_GPU_FAMILIES = ("g4dn", "g5", "g6", "g6e", "p4d", "p5")


@dataclass(frozen=True)
class Images:
    """The two images of the algorithm, by name with tag or digest."""

    training: str
    inference: str


@dataclass(frozen=True)
class Validation:
    """What the platform runs to validate the algorithm: one training job, and one transform job with its artifact.

    Parameters
    ----------
    role
        ARN of the role that both jobs have.
    train, lines
        S3 URIs of the training data and of the header-less lines.
    output
        S3 URI of a prefix for their results.
    training_instance, transform_instance
        Types of their one instance each. The transform's has a GPU, since that is where a driver can be too old.
    """

    role: str
    train: str
    lines: str
    output: str
    training_instance: str = "ml.m5.xlarge"
    transform_instance: str = "ml.g4dn.xlarge"


def metric_name(name: str) -> str:
    """The metric as the platform calls it."""
    return f"validation:{name}"


def require_objective(name: str) -> str:
    """The direction, ``Maximize`` or ``Minimize``, of a metric that a tuning job may have as objective.

    Raises
    ------
    UserError
        It is none.
    """
    if name not in OBJECTIVES:
        raise UserError(f"The objective '{name}' is none of {', '.join(OBJECTIVES)}.")
    return OBJECTIVES[name]


def metric_definitions() -> list[dict[str, str]]:
    """Where the platform finds each metric in the log, as `training.report.log_metrics` writes it."""
    return [
        {"Name": metric_name(name), "Regex": rf"{metric_name(name)}=({_NUMBER});"}
        for name in (*CLASSIFICATION_METRICS, *REGRESSION_METRICS)
    ]


def channels() -> list[dict[str, Any]]:
    """The channels that training reads, and how their data may come."""
    table = {
        "SupportedContentTypes": ["text/csv", "application/x-parquet"],
        # Gzip is told by content, since File mode does not decompress.
        "SupportedCompressionTypes": ["None", "Gzip"],
        "SupportedInputModes": ["File", "FastFile", "Pipe"],
    }
    archive = {
        "SupportedContentTypes": [MODEL_TYPE],
        # File mode does not decompress: the archive arrives as it is.
        "SupportedCompressionTypes": ["None"],
        "SupportedInputModes": ["File"],
    }
    return [
        {
            "Name": "train",
            "Description": "Tables with a header: label, ID, and columns that end in _text, _num, _cat or _image.",
            "IsRequired": True,
            **table,
        },
        {
            "Name": "validation",
            "Description": "Rows of the same columns that metrics are measured on; else they are measured out of fold.",
            "IsRequired": False,
            **table,
        },
        {
            "Name": "images",
            "Description": "Files that cells of image columns name, in place of base64.",
            "IsRequired": False,
            "SupportedContentTypes": ["application/x-image", "image/jpeg", "image/png"],
            "SupportedCompressionTypes": ["None"],
            "SupportedInputModes": ["File", "FastFile"],
        },
        {
            "Name": "model",
            "Description": "The model.tar.gz of an earlier job, which training goes on from.",
            "IsRequired": False,
            **archive,
        },
        {
            "Name": "pretrained",
            "Description": "Networks to start from: what export-backbones wrote, or a model.tar.gz.",
            "IsRequired": False,
            **archive,
        },
    ]


def create_algorithm_request(name: str, images: Images, validation: Validation | None = None) -> dict[str, Any]:
    """The request of ``CreateAlgorithm``.

    Parameters
    ----------
    name
        Of the algorithm.
    images
        In the registry of the account.
    validation
        What the platform runs before the algorithm may be used; None leaves that out.
    """
    request: dict[str, Any] = {
        "AlgorithmName": name,
        "AlgorithmDescription": "Classifies rows, or predicts a number for them, that mix text, numbers, categories "
        f"and images: an AutoGluon model per modality and a fusion of their answers. Version {__version__}.",
        "TrainingSpecification": {
            "TrainingImage": images.training,
            "SupportedHyperParameters": specification(),
            "SupportedTrainingInstanceTypes": _instances("TrainingInstanceType"),
            "SupportsDistributedTraining": True,
            "MetricDefinitions": metric_definitions(),
            "TrainingChannels": channels(),
            "SupportedTuningJobObjectiveMetrics": [
                {"Type": direction, "MetricName": metric_name(metric)} for metric, direction in OBJECTIVES.items()
            ],
        },
        "InferenceSpecification": {
            "Containers": [{"Image": images.inference}],
            "SupportedTransformInstanceTypes": _instances("TransformInstanceType"),
            "SupportedRealtimeInferenceInstanceTypes": _instances("ProductionVariantInstanceType"),
            "SupportedContentTypes": list(REQUEST_TYPES),
            "SupportedResponseMIMETypes": list(RESPONSE_TYPES),
        },
    }
    if validation is not None:
        request["ValidationSpecification"] = _validation(validation)
    return request


def _validation(validation: Validation) -> dict[str, Any]:
    # Neither job's definition has time-outs of requests, a join, or an environment for training.
    return {
        "ValidationRole": validation.role,
        "ValidationProfiles": [
            {
                "ProfileName": "sample",
                "TrainingJobDefinition": {
                    "TrainingInputMode": "File",
                    "HyperParameters": {"quality": "toy", "n_mins": "2"},
                    "InputDataConfig": [channel("train", validation.train)],
                    "OutputDataConfig": {"S3OutputPath": validation.output},
                    "ResourceConfig": resources(validation.training_instance, 1, 30),
                    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
                },
                "TransformJobDefinition": {
                    "TransformInput": {
                        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": validation.lines}},
                        "ContentType": "text/csv",
                        "SplitType": "Line",
                    },
                    "TransformOutput": {
                        "S3OutputPath": validation.output,
                        "Accept": "text/csv",
                        "AssembleWith": "Line",
                    },
                    "TransformResources": transform_resources(validation.transform_instance, 1),
                },
            }
        ],
    }


def channel(name: str, uri: str, mode: str = "File", *, sharded: bool = False) -> dict[str, Any]:
    """One entry of ``InputDataConfig``.

    Parameters
    ----------
    name
        Of the channel.
    uri
        An object, or a prefix of objects.
    mode
        Of the job's input; a channel that cannot come so comes as files.
    sharded
        Whether each instance gets a share of the files of rows, not all.
    """
    distribution = "ShardedByS3Key" if sharded and name in ("train", "validation") else "FullyReplicated"
    declared = next((entry for entry in channels() if entry["Name"] == name), None)
    entry: dict[str, Any] = {
        "ChannelName": name,
        "DataSource": {
            "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": distribution}
        },
        "InputMode": mode if declared is None or mode in declared["SupportedInputModes"] else "File",
    }
    if declared is not None and MODEL_TYPE in declared["SupportedContentTypes"]:
        entry["ContentType"] = MODEL_TYPE
    elif name != "images":
        entry["ContentType"] = "application/x-parquet" if uri.endswith(".parquet") else "text/csv"
    return entry


def resources(instance: str, count: int, volume_gb: int) -> dict[str, Any]:
    """The ``ResourceConfig`` of a training job."""
    return {"InstanceType": instance, "InstanceCount": count, "VolumeSizeInGB": volume_gb}


def transform_resources(instance: str, count: int) -> dict[str, Any]:
    """The ``TransformResources`` of a transform job, on a host with a driver for the image where it has a GPU."""
    found: dict[str, Any] = {"InstanceType": instance, "InstanceCount": count}
    if instance.split(".")[1] in _GPU_FAMILIES:
        found["TransformAmiVersion"] = BATCH_AMI
    return found


def _instances(shape: str) -> list[str]:
    return [name for name in enum_of(shape) if name.split(".")[1] in (*_CPU_FAMILIES, *_GPU_FAMILIES)]
