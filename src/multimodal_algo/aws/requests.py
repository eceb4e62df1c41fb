"""The requests of jobs: training, model, batch transform, tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from multimodal_algo.aws.specification import channel, metric_name, require_objective, resources, transform_resources
from multimodal_algo.config.hyperparameters import HyperParameters, specification
from multimodal_algo.core.errors import UserError

_DAY_S = 24 * 3600
# What an algorithm of the Marketplace may wait for spot capacity.
_SPOT_WAIT_S = 3600
_CHECKPOINTS = "/opt/ml/checkpoints"


@dataclass(frozen=True)
class Training:
    """A training job by algorithm ARN.

    Parameters
    ----------
    algorithm
        ARN, or the name of an own algorithm.
    role
        ARN of the role that the job has.
    channels
        S3 URI by channel.
    output
        S3 URI of the prefix for results.
    hyperparameters
        As strings.
    instance, count, volume_gb
        Machines.
    max_runtime_s
        Seconds after which the job is stopped.
    input_mode
        ``File``, ``FastFile`` or ``Pipe``; channels that do not declare it come by ``File``.
    spot
        Whether on spot capacity, for which the job waits up to an hour longer.
    checkpoints
        S3 URI that ``/opt/ml/checkpoints`` is kept at.
    sharded
        Whether each of several machines gets a share of the files of rows, not all.
    """

    algorithm: str
    role: str
    channels: Mapping[str, str]
    output: str
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    instance: str = "ml.m5.2xlarge"
    count: int = 1
    volume_gb: int = 50
    max_runtime_s: int = _DAY_S
    input_mode: str = "File"
    spot: bool = False
    checkpoints: str | None = None
    sharded: bool = False

    def request(self, name: str) -> dict[str, Any]:
        """The request of ``CreateTrainingJob``.

        Raises
        ------
        UserError
            Hyperparameters that training would refuse.
        """
        HyperParameters.parse(self.hyperparameters)
        return {"TrainingJobName": name, **self._common(), **self._hyperparameters("HyperParameters")}

    def _common(self) -> dict[str, Any]:
        """What a training job has alone and inside a tuning job."""
        stopping = {"MaxRuntimeInSeconds": self.max_runtime_s}
        if self.spot:
            stopping["MaxWaitTimeInSeconds"] = self.max_runtime_s + _SPOT_WAIT_S
        request: dict[str, Any] = {
            "AlgorithmSpecification": {"AlgorithmName": self.algorithm, "TrainingInputMode": self.input_mode},
            "RoleArn": self.role,
            "InputDataConfig": [
                channel(name, uri, self.input_mode, sharded=self.sharded) for name, uri in self.channels.items()
            ],
            "OutputDataConfig": {"S3OutputPath": self.output},
            "ResourceConfig": resources(self.instance, self.count, self.volume_gb),
            "StoppingCondition": stopping,
            # As for buyers of an algorithm, who have no other way.
            "EnableNetworkIsolation": True,
        }
        if self.spot:
            request["EnableManagedSpotTraining"] = True
        if self.checkpoints is not None:
            request["CheckpointConfig"] = {"S3Uri": self.checkpoints, "LocalPath": _CHECKPOINTS}
        return request

    def _hyperparameters(self, key: str) -> dict[str, Any]:
        return {key: dict(self.hyperparameters)} if self.hyperparameters else {}


@dataclass(frozen=True)
class Tuning:
    """A tuning job: training jobs with hyperparameters that a search chooses.

    Parameters
    ----------
    training
        What all jobs share; its hyperparameters stay as they are.
    ranges
        Of each hyperparameter to choose, ``LOW:HIGH`` or values separated by commas.
    objective
        A metric of `specification.OBJECTIVES`.
    jobs, parallel
        Training jobs in all, and at a time.
    strategy
        ``Bayesian`` or ``Random``.
    """

    training: Training
    ranges: Mapping[str, str]
    objective: str = "log_loss"
    jobs: int = 10
    parallel: int = 2
    strategy: str = "Bayesian"

    def request(self, name: str) -> dict[str, Any]:
        """The request of ``CreateHyperParameterTuningJob``.

        Raises
        ------
        UserError
            Hyperparameters that training would refuse, or that cannot be tuned; an objective that is none.
        """
        direction = require_objective(self.objective)
        HyperParameters.parse(self.training.hyperparameters)
        return {
            "HyperParameterTuningJobName": name,
            "HyperParameterTuningJobConfig": {
                "Strategy": self.strategy,
                "HyperParameterTuningJobObjective": {
                    "Type": direction,
                    "MetricName": metric_name(self.objective),
                },
                "ResourceLimits": {"MaxNumberOfTrainingJobs": self.jobs, "MaxParallelTrainingJobs": self.parallel},
                "ParameterRanges": parameter_ranges(self.ranges),
            },
            "TrainingJobDefinition": {
                **self.training._common(),
                **self.training._hyperparameters("StaticHyperParameters"),
            },
        }


def parameter_ranges(ranges: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """The ``ParameterRanges`` of a tuning job, of ``LOW:HIGH`` or values separated by commas by hyperparameter.

    Raises
    ------
    UserError
        No range, a hyperparameter that cannot be tuned, or a range that is not inside the declared one.
    """
    declared = {entry["Name"]: entry for entry in specification() if entry["IsTunable"]}
    if not ranges:
        raise UserError(f"Give a range of at least one of {', '.join(declared)}.")
    found: dict[str, list[dict[str, Any]]] = {}
    for name, text in ranges.items():
        if name not in declared:
            raise UserError(f"The hyperparameter '{name}' cannot be tuned. Those that can: {', '.join(declared)}.")
        kind = declared[name]["Type"]
        if kind == "Categorical":
            entry: dict[str, Any] = {"Values": [value.strip() for value in text.split(",")]}
            ends = entry["Values"]
        else:
            low, _, high = text.partition(":")
            entry = {"MinValue": low.strip(), "MaxValue": high.strip()}
            ends = [low, high]
            try:
                is_range = float(low) < float(high)
            except ValueError:
                is_range = False
            if not is_range:
                raise UserError(f"The range of {name}, '{text}', is not LOW:HIGH.")
        for end in ends:
            HyperParameters.parse({name: end})
        found.setdefault(f"{kind}ParameterRanges", []).append({"Name": name, **entry})
    return found


@dataclass(frozen=True)
class Transform:
    """A batch transform job.

    Parameters
    ----------
    model
        Name of the model.
    input, output
        S3 URIs of the files (an object or a prefix) and of the prefix for answers.
    content_type, accept, split_type, assemble_with, compression_type
        Of input and output.
    instance, count
        Machines; a file is never split over several.
    strategy, max_payload_mb, max_concurrent_transforms
        None leaves them to what the server answers.
    invocations_timeout_s, invocations_max_retries
        Of each request.
    input_filter, output_filter, join_source
        ``DataProcessing``.
    env
        Of the server.
    """

    model: str
    input: str
    output: str
    content_type: str = "text/csv"
    accept: str = "text/csv"
    split_type: str = "Line"
    assemble_with: str = "Line"
    compression_type: str = "None"
    instance: str = "ml.m5.2xlarge"
    count: int = 1
    strategy: str | None = None
    max_payload_mb: int | None = None
    max_concurrent_transforms: int | None = None
    invocations_timeout_s: int = 600
    invocations_max_retries: int = 3
    input_filter: str = "$"
    output_filter: str = "$"
    join_source: str = "None"
    env: Mapping[str, str] = field(default_factory=dict)

    def request(self, name: str) -> dict[str, Any]:
        """The request of ``CreateTransformJob``."""
        request: dict[str, Any] = {
            "TransformJobName": name,
            "ModelName": self.model,
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": self.input}},
                "ContentType": self.content_type,
                "SplitType": self.split_type,
                "CompressionType": self.compression_type,
            },
            "TransformOutput": {
                "S3OutputPath": self.output,
                "Accept": self.accept,
                "AssembleWith": self.assemble_with,
            },
            "TransformResources": transform_resources(self.instance, self.count),
            "ModelClientConfig": {
                "InvocationsTimeoutInSeconds": self.invocations_timeout_s,
                "InvocationsMaxRetries": self.invocations_max_retries,
            },
            "DataProcessing": {
                "InputFilter": self.input_filter,
                "OutputFilter": self.output_filter,
                "JoinSource": self.join_source,
            },
        }
        options = {
            "BatchStrategy": self.strategy,
            "MaxPayloadInMB": self.max_payload_mb,
            "MaxConcurrentTransforms": self.max_concurrent_transforms,
            "Environment": dict(self.env) or None,
        }
        return request | {key: value for key, value in options.items() if value is not None}


def model_package_request(name: str, algorithm: str, artifact: str) -> dict[str, Any]:
    """The request of ``CreateModelPackage``: the algorithm's inference image with the artifact at an S3 URI.

    A model of an algorithm can be made in no other way: its image may belong to another account.
    """
    return {
        "ModelPackageName": name,
        "SourceAlgorithmSpecification": {
            "SourceAlgorithms": [{"AlgorithmName": algorithm, "ModelDataUrl": artifact}],
        },
    }


def model_request(name: str, package: str, role: str) -> dict[str, Any]:
    """The request of ``CreateModel`` from a model package."""
    return {
        "ModelName": name,
        "PrimaryContainer": {"ModelPackageName": package},
        "ExecutionRoleArn": role,
        "EnableNetworkIsolation": True,
    }
