"""Builds the ``CreateAlgorithm`` request, which describes the algorithm to SageMaker, from declarations in the code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from multimodal_algo import __version__
from multimodal_algo.aws.model import enum_of
from multimodal_algo.aws.names import instance_type
from multimodal_algo.config.channels import CHANNELS, IMAGES, TRAIN, Channel, find_channel
from multimodal_algo.config.specification import specification
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.metrics import METRICS, Metric
from multimodal_algo.sagemaker.devices import BATCH_AMI

REQUEST_TYPES = ("text/csv", "application/jsonlines", "application/json", "application/x-parquet")
RESPONSE_TYPES = ("text/csv", "application/jsonlines", "application/json")

_CPU_FAMILIES = ("m5", "m6i", "m7i", "c5", "c6i", "c7i", "r6i", "r7i")
_GPU_FAMILIES = ("g4dn", "g5", "g6", "g6e", "p4d", "p5")


@dataclass(frozen=True)
class Images:
    """The names of the training image and the inference image, each with a tag or digest."""

    training: str
    inference: str


@dataclass(frozen=True)
class Validation:
    """SageMaker's validation of a new algorithm: a training job, and a transform job with its artifact.

    Parameters
    ----------
    role
        ARN of the role that both jobs run as.
    train
        S3 URI of the training data.
    lines
        S3 URI of lines without header for the transform job.
    output
        S3 prefix for the results.
    training_instance
        Instance type of the training job.
    transform_instance
        Instance type of the transform job. By default it has a GPU, to find out whether its driver is new enough.
    """

    role: str
    train: str
    lines: str
    output: str
    training_instance: str = "ml.m5.xlarge"
    transform_instance: str = "ml.g4dn.xlarge"

    @classmethod
    def within(cls, prefix: str, role: str, training_instance: str, transform_instance: str) -> Validation:
        """Return the validation jobs, with data and results below the S3 URI `prefix`."""
        root = prefix.rstrip("/")
        paths = (f"{root}/train/", f"{root}/lines/", f"{root}/output")
        return cls(role, *paths, training_instance, transform_instance)


def find_objective(name: str) -> Metric:
    """Return the metric called `name`, if a tuning job may optimise it.

    Raises
    ------
    UserError
        There is no such metric, or a tuning job may not optimise it.
    """
    objectives = {metric.name: metric for metric in METRICS if metric.is_objective}
    if name not in objectives:
        raise UserError(f"The objective '{name}' is not one of {', '.join(objectives)}.")
    return objectives[name]


def metric_definitions() -> list[dict[str, str]]:
    """Return the regular expressions with which SageMaker finds the value of each metric in the log."""
    return [{"Name": metric.platform_name, "Regex": metric.expression} for metric in METRICS]


def training_channels() -> list[dict[str, Any]]:
    """Return the channels that training reads, in the form in which ``CreateAlgorithm`` declares them."""
    return [
        {
            "Name": channel.name,
            "Description": channel.description,
            "IsRequired": channel.is_required,
            "SupportedContentTypes": list(channel.content_types),
            "SupportedCompressionTypes": list(channel.compressions),
            "SupportedInputModes": list(channel.input_modes),
        }
        for channel in CHANNELS
    ]


def create_algorithm_request(
    name: str, images: Images, validation: Validation | None = None, *, marketplace: bool = False
) -> dict[str, Any]:
    """Return the request of ``CreateAlgorithm``.

    Parameters
    ----------
    name
        Name of the algorithm.
    images
        Images in the ECR registry.
    validation
        Jobs that the platform runs before it accepts the algorithm. None to run no jobs.
    marketplace
        Whether SageMaker certifies the algorithm for AWS Marketplace with the validation. This cannot be changed later.

    Raises
    ------
    UserError
        An algorithm for the Marketplace has no validation.
    """
    if marketplace and validation is None:
        raise UserError("The Marketplace takes validated algorithms alone: give --validate-in and --role too.")
    request: dict[str, Any] = {
        "AlgorithmName": name,
        "AlgorithmDescription": "Classifies rows, or predicts a number for them, that mix text, numbers, categories "
        f"and images: an AutoGluon model per modality and a fusion of their answers. Version {__version__}.",
        "TrainingSpecification": _training_specification(images.training),
        "InferenceSpecification": {
            "Containers": [{"Image": images.inference}],
            "SupportedTransformInstanceTypes": _instances("TransformInstanceType"),
            "SupportedRealtimeInferenceInstanceTypes": _instances("ProductionVariantInstanceType"),
            "SupportedContentTypes": list(REQUEST_TYPES),
            "SupportedResponseMIMETypes": list(RESPONSE_TYPES),
        },
    }
    if validation is not None:
        request["ValidationSpecification"] = _validation_specification(validation)
    if marketplace:
        request["CertifyForMarketplace"] = True
    return request


def _training_specification(image: str) -> dict[str, Any]:
    return {
        "TrainingImage": image,
        "SupportedHyperParameters": specification(),
        "SupportedTrainingInstanceTypes": _instances("TrainingInstanceType"),
        "SupportsDistributedTraining": True,
        "MetricDefinitions": metric_definitions(),
        "TrainingChannels": training_channels(),
        "SupportedTuningJobObjectiveMetrics": [
            {"Type": metric.direction, "MetricName": metric.platform_name} for metric in METRICS if metric.is_objective
        ],
    }


def _validation_specification(validation: Validation) -> dict[str, Any]:
    profile = {
        "ProfileName": "sample",
        "TrainingJobDefinition": _training_job_definition(validation),
        "TransformJobDefinition": _transform_job_definition(validation),
    }
    return {"ValidationRole": validation.role, "ValidationProfiles": [profile]}


def _training_job_definition(validation: Validation) -> dict[str, Any]:
    # API: unlike a training job, this definition cannot have an environment.
    return {
        "TrainingInputMode": "File",
        "HyperParameters": {"quality": "toy", "n_mins": "2"},
        "InputDataConfig": [input_channel(TRAIN.name, validation.train)],
        "OutputDataConfig": {"S3OutputPath": validation.output},
        "ResourceConfig": resources(validation.training_instance, 1, 30),
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }


def _transform_job_definition(validation: Validation) -> dict[str, Any]:
    # API: unlike a transform job, this definition cannot have time-outs of requests or a join.
    return {
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": validation.lines}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        "TransformOutput": {"S3OutputPath": validation.output, "Accept": "text/csv", "AssembleWith": "Line"},
        "TransformResources": transform_resources(validation.transform_instance, 1),
    }


def input_channel(name: str, uri: str, mode: str = "File", *, sharded: bool = False) -> dict[str, Any]:
    """Return the description of a channel in a training job's request (an entry of ``InputDataConfig``).

    Parameters
    ----------
    name
        Name of the channel.
    uri
        S3 URI of an object, or of a prefix of objects.
    mode
        Input mode of the job. A channel that does not allow this mode arrives as files.
    sharded
        Whether each instance gets a part of the files instead of all, if the channel allows it.
    """
    declared = find_channel(name)
    is_share = sharded and declared is not None and declared.is_shardable
    entry: dict[str, Any] = {
        "ChannelName": name,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": uri,
                "S3DataDistributionType": "ShardedByS3Key" if is_share else "FullyReplicated",
            }
        },
        "InputMode": mode if declared is None else declared.mode_for(mode),
    }
    if declared != IMAGES:
        entry["ContentType"] = _content_type(declared, uri)
    return entry


def _content_type(channel: Channel | None, uri: str) -> str:
    if channel is not None and channel.holds_archive:
        return channel.content_type
    return "application/x-parquet" if uri.endswith(".parquet") else "text/csv"


def resources(instance: str, count: int, volume_gb: int) -> dict[str, Any]:
    """Return the ``ResourceConfig`` of a training job.

    Raises
    ------
    UserError
        Training jobs do not accept the instance type.
    """
    instance = instance_type(instance, "TrainingInstanceType")
    return {"InstanceType": instance, "InstanceCount": count, "VolumeSizeInGB": volume_gb}


def transform_resources(instance: str, count: int) -> dict[str, Any]:
    """Return the ``TransformResources`` of a transform job. They ask for a GPU driver that suits the image.

    Raises
    ------
    UserError
        Transform jobs do not accept the instance type.
    """
    instance = instance_type(instance, "TransformInstanceType")
    request: dict[str, Any] = {"InstanceType": instance, "InstanceCount": count}
    if has_gpu(instance):
        request["TransformAmiVersion"] = BATCH_AMI
    return request


def has_gpu(instance: str) -> bool:
    """Return whether instances of a type have NVIDIA GPUs."""
    return instance.split(".")[1] in _GPU_FAMILIES


def _instances(shape: str) -> list[str]:
    return [name for name in enum_of(shape) if name.split(".")[1] in (*_CPU_FAMILIES, *_GPU_FAMILIES)]
