"""The requests of training jobs, tuning jobs, models and batch transform jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from multimodal_algo.aws.specification import find_objective, input_channel, resources, transform_resources
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.specification import specification
from multimodal_algo.config.transform import TransformSettings
from multimodal_algo.core.errors import UserError

_DAY_S = 24 * 3600
# The longest wait for spot capacity that an algorithm of the Marketplace may ask for.
_SPOT_WAIT_S = 3600
_CHECKPOINTS = "/opt/ml/checkpoints"


@dataclass(frozen=True)
class Training:
    """A training job by algorithm ARN.

    Parameters
    ----------
    algorithm
        ARN of the algorithm, or the name of an algorithm in the same account.
    role
        ARN of the role of the job.
    channels
        S3 URI of each channel, by the channel's name.
    output
        S3 URI of the prefix for results.
    hyperparameters
        Hyperparameters as strings.
    instance
        Instance type.
    count
        Number of instances.
    volume_gb
        Size of each instance's disk in GB.
    max_runtime_s
        Seconds after which the platform stops the job.
    input_mode
        ``File``, ``FastFile`` or ``Pipe``. A channel that does not declare the mode arrives by ``File``.
    spot
        Whether the job runs on spot capacity. It then waits for capacity up to an hour longer.
    checkpoints
        S3 URI with which the platform synchronises ``/opt/ml/checkpoints``. None for no checkpoints.
    sharded
        Whether each of several instances gets a share of the files with rows, instead of all.
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
        """Return the request of ``CreateTrainingJob``.

        Raises
        ------
        UserError
            Training would refuse the hyperparameters.
        """
        HyperParameters.parse(self.hyperparameters)
        return {"TrainingJobName": name, **self.definition("HyperParameters")}

    def definition(self, hyperparameters_key: str) -> dict[str, Any]:
        """Return the part of the request that a training job and a tuning job share.

        Parameters
        ----------
        hyperparameters_key
            Key of the hyperparameters: ``HyperParameters``, or ``StaticHyperParameters`` in a tuning job.
        """
        stopping = {"MaxRuntimeInSeconds": self.max_runtime_s}
        request: dict[str, Any] = {
            "AlgorithmSpecification": {"AlgorithmName": self.algorithm, "TrainingInputMode": self.input_mode},
            "RoleArn": self.role,
            "InputDataConfig": [
                input_channel(name, uri, self.input_mode, sharded=self.sharded) for name, uri in self.channels.items()
            ],
            "OutputDataConfig": {"S3OutputPath": self.output},
            "ResourceConfig": resources(self.instance, self.count, self.volume_gb),
            "StoppingCondition": stopping,
            # Buyers of an algorithm cannot choose: their jobs are always isolated.
            "EnableNetworkIsolation": True,
        }
        if self.spot:
            stopping["MaxWaitTimeInSeconds"] = self.max_runtime_s + _SPOT_WAIT_S
            request["EnableManagedSpotTraining"] = True
        if self.checkpoints is not None:
            request["CheckpointConfig"] = {"S3Uri": self.checkpoints, "LocalPath": _CHECKPOINTS}
        if self.hyperparameters:
            request[hyperparameters_key] = dict(self.hyperparameters)
        return request


@dataclass(frozen=True)
class Tuning:
    """A tuning job: training jobs with hyperparameters that a search chooses.

    Parameters
    ----------
    training
        Settings that all training jobs share. The search does not change these hyperparameters.
    ranges
        Range of each hyperparameter that the search chooses: ``LOW:HIGH``, or values separated by commas.
    objective
        Name of the metric that the search optimises. See `find_objective`.
    jobs
        Number of training jobs.
    parallel
        Number of training jobs at a time.
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
        """Return the request of ``CreateHyperParameterTuningJob``.

        Raises
        ------
        UserError
            Training would refuse the hyperparameters, a range is wrong, or the objective is not one of the metrics.
        """
        objective = find_objective(self.objective)
        HyperParameters.parse(self.training.hyperparameters)
        return {
            "HyperParameterTuningJobName": name,
            "HyperParameterTuningJobConfig": {
                "Strategy": self.strategy,
                "HyperParameterTuningJobObjective": {
                    "Type": objective.direction,
                    "MetricName": objective.platform_name,
                },
                "ResourceLimits": {"MaxNumberOfTrainingJobs": self.jobs, "MaxParallelTrainingJobs": self.parallel},
                "ParameterRanges": parameter_ranges(self.ranges),
            },
            "TrainingJobDefinition": self.training.definition("StaticHyperParameters"),
        }


def parameter_ranges(ranges: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Return the ``ParameterRanges`` of a tuning job.

    Parameters
    ----------
    ranges
        Range of each hyperparameter: ``LOW:HIGH``, or values separated by commas.

    Raises
    ------
    UserError
        There is no range, a hyperparameter is not tunable, or a range is not inside the declared one.
    """
    kinds = {entry["Name"]: entry["Type"] for entry in specification() if entry["IsTunable"]}
    if not ranges:
        raise UserError(f"Give a range of at least one of {', '.join(kinds)}.")
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for name, text in ranges.items():
        if name not in kinds:
            raise UserError(f"The hyperparameter '{name}' is not tunable. Those that are: {', '.join(kinds)}.")
        span = _values(text) if kinds[name] == "Categorical" else _interval(name, text)
        for value in span.get("Values", span.values()):
            HyperParameters.parse({name: value})
        by_kind.setdefault(f"{kinds[name]}ParameterRanges", []).append({"Name": name, **span})
    return by_kind


def _values(text: str) -> dict[str, Any]:
    return {"Values": [value.strip() for value in text.split(",")]}


def _interval(name: str, text: str) -> dict[str, Any]:
    low, _, high = text.partition(":")
    try:
        is_interval = float(low) < float(high)
    except ValueError:
        is_interval = False
    if not is_interval:
        raise UserError(f"The range of {name}, '{text}', is not LOW:HIGH.")
    return {"MinValue": low.strip(), "MaxValue": high.strip()}


@dataclass(frozen=True)
class Transform:
    """A batch transform job.

    Parameters
    ----------
    model
        Name of the model.
    input
        S3 URI of the files to transform: an object, or a prefix of objects.
    output
        S3 URI of the prefix for answers.
    settings
        Settings of requests, answers and data processing.
    instance, count
        Type and number of the machines. A file is never split over several machines.
    """

    model: str
    input: str
    output: str
    settings: TransformSettings = field(default_factory=TransformSettings)
    instance: str = "ml.m5.2xlarge"
    count: int = 1

    def request(self, name: str) -> dict[str, Any]:
        """Return the request of ``CreateTransformJob``."""
        settings = self.settings.request()
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": self.input}}
        return settings | {
            "TransformJobName": name,
            "ModelName": self.model,
            "TransformInput": {"DataSource": source, **settings["TransformInput"]},
            "TransformOutput": {"S3OutputPath": self.output, **settings["TransformOutput"]},
            "TransformResources": transform_resources(self.instance, self.count),
        }


def model_package_request(name: str, algorithm: str, artifact: str) -> dict[str, Any]:
    """Return the request of ``CreateModelPackage``: the algorithm's inference image with an artifact in S3.

    This is the only way to make a model of an algorithm, since its image may belong to another account.

    Parameters
    ----------
    name
        Name of the model package.
    algorithm
        ARN or name of the algorithm.
    artifact
        S3 URI of ``model.tar.gz``.
    """
    return {
        "ModelPackageName": name,
        "SourceAlgorithmSpecification": {
            "SourceAlgorithms": [{"AlgorithmName": algorithm, "ModelDataUrl": artifact}],
        },
    }


def model_request(name: str, package: str, role: str) -> dict[str, Any]:
    """Return the request of ``CreateModel`` for a model package, which jobs run as `role`."""
    return {
        "ModelName": name,
        "PrimaryContainer": {"ModelPackageName": package},
        "ExecutionRoleArn": role,
        "EnableNetworkIsolation": True,
    }
