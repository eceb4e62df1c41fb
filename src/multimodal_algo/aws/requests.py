"""The requests of training jobs, tuning jobs and batch transform jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multimodal_algo.aws.protection import UNPROTECTED, Protection
from multimodal_algo.aws.specification import find_objective, input_channel, resources, transform_resources
from multimodal_algo.config.combinations import JobInput, require_possible
from multimodal_algo.config.customisation import Customisation
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.specification import specification
from multimodal_algo.config.transform import TransformSettings
from multimodal_algo.core.errors import UserError

_DAY_S = 24 * 3600
_SPOT_WAIT_S = 3600
_CHECKPOINTS = "/opt/ml/checkpoints"


@dataclass(frozen=True)
class Training:
    """The settings of a training job that runs an algorithm resource.

    Parameters
    ----------
    algorithm
        ARN of the algorithm, or the name of an algorithm in the same account.
    role
        ARN of the role that the job runs as.
    channels
        S3 URI of each channel, by the channel's name.
    output
        S3 prefix for the results.
    hyperparameters
        Hyperparameters as strings.
    instance
        Instance type.
    count
        Number of instances.
    volume_gb
        Size of each instance's disk in GB.
    max_runtime_s
        Seconds after which SageMaker stops the job.
    input_mode
        ``File``, ``FastFile`` or ``Pipe``. A channel that does not allow this mode arrives as files.
    spot
        Whether the job runs on spot capacity.
    max_wait_s
        Seconds after which a job on spot capacity ends, with the time that it waits. None for `max_runtime_s` and an
        hour.
    checkpoints
        S3 URI with which SageMaker synchronises ``/opt/ml/checkpoints``. None to keep no checkpoints.
    sharded
        Whether each of several instances gets a share of the files with rows, instead of all.
    keep_alive_s
        Seconds for which the instances wait for the next job (a warm pool). With 0, they do not wait.
    protection
        Network, keys and tags.
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
    max_wait_s: int | None = None
    checkpoints: str | None = None
    sharded: bool = False
    keep_alive_s: int = 0
    protection: Protection = UNPROTECTED

    def request(self, name: str) -> dict[str, Any]:
        """Return the ``CreateTrainingJob`` request that starts this job under `name`.

        Raises
        ------
        UserError
            Training would refuse the hyperparameters or the channels, or some settings of the job exclude each other.
        """
        return {"TrainingJobName": name, **self.definition("HyperParameters"), **self.protection.labels}

    def definition(self, hyperparameters_key: str) -> dict[str, Any]:
        """Return the part of the request that training jobs and tuning jobs have in common.

        Parameters
        ----------
        hyperparameters_key
            Key of the hyperparameters: ``HyperParameters``, or ``StaticHyperParameters`` in a tuning job.

        Raises
        ------
        UserError
            See `request`.
        """
        channels = [
            input_channel(name, uri, self.input_mode, sharded=self.sharded) for name, uri in self.channels.items()
        ]
        self._require_what_training_takes(channels)
        stopping = {"MaxRuntimeInSeconds": self.max_runtime_s}
        request: dict[str, Any] = {
            "AlgorithmSpecification": {"AlgorithmName": self.algorithm, "TrainingInputMode": self.input_mode},
            "RoleArn": self.role,
            "InputDataConfig": channels,
            "OutputDataConfig": {"S3OutputPath": self.output, **self.protection.output},
            "ResourceConfig": self._resources(),
            "StoppingCondition": stopping,
            # Buyers of an algorithm cannot choose: their jobs are always isolated.
            "EnableNetworkIsolation": True,
            **self.protection.network,
            **self.protection.traffic,
        }
        if self.spot:
            stopping["MaxWaitTimeInSeconds"] = self._max_wait_s()
            request["EnableManagedSpotTraining"] = True
        if self.checkpoints is not None:
            request["CheckpointConfig"] = {"S3Uri": self.checkpoints, "LocalPath": _CHECKPOINTS}
        if self.hyperparameters:
            request[hyperparameters_key] = dict(self.hyperparameters)
        return request

    def _require_what_training_takes(self, channels: Sequence[Mapping[str, Any]]) -> None:
        hyperparameters = HyperParameters.parse(self.hyperparameters)
        Customisation.of(hyperparameters)
        sources = {entry["ChannelName"]: entry["DataSource"]["S3DataSource"] for entry in channels}
        sharded = (name for name, source in sources.items() if source["S3DataDistributionType"] == "ShardedByS3Key")
        piped = (entry["ChannelName"] for entry in channels if entry["InputMode"] == "Pipe")
        require_possible(
            hyperparameters, JobInput(frozenset(sources), frozenset(piped), frozenset(sharded), self.count)
        )

    def _resources(self) -> dict[str, Any]:
        request = resources(self.instance, self.count, self.volume_gb)
        if self.keep_alive_s:
            if self.spot:
                raise UserError("A warm pool does not take spot capacity: leave out --spot or --keep-alive.")
            request["KeepAlivePeriodInSeconds"] = self.keep_alive_s
        return request | self.protection.volume("VolumeKmsKeyId", self.instance)

    def _max_wait_s(self) -> int:
        wait_s = self.max_runtime_s + _SPOT_WAIT_S if self.max_wait_s is None else self.max_wait_s
        if wait_s < self.max_runtime_s:
            raise UserError(
                f"--max-wait is {wait_s} s and includes the {self.max_runtime_s} s of --max-runtime: raise the first, "
                "or lower the second."
            )
        return wait_s


@dataclass(frozen=True)
class Tuning:
    """The settings of a tuning job: a search that runs training jobs with different hyperparameters.

    Parameters
    ----------
    training
        Settings that all training jobs share, with the hyperparameters that stay the same.
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
        """Return the ``CreateHyperParameterTuningJob`` request that starts this job under `name`.

        Raises
        ------
        UserError
            Training would refuse the hyperparameters, a range is wrong, a hyperparameter has a range and a value, or
            the objective is not one of the metrics.
        """
        if both := sorted(set(self.ranges) & set(self.training.hyperparameters)):
            raise UserError(f"The hyperparameter {both[0]} has a value and a range: leave out one of them.")
        objective = find_objective(self.objective)
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
            **self.training.protection.labels,
        }


def parameter_ranges(ranges: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Return the ``ParameterRanges`` of a tuning job: what its search may choose.

    Parameters
    ----------
    ranges
        Range of each hyperparameter: ``LOW:HIGH``, or values separated by commas.

    Raises
    ------
    UserError
        There is no range, a hyperparameter is not tunable, or a range exceeds the hyperparameter's limits.
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
    """The settings of a batch transform job.

    Parameters
    ----------
    model
        Name of the model.
    input
        S3 URI of the files to transform: an object, or a prefix of objects.
    output
        S3 prefix for the answers.
    settings
        Settings of requests, answers and data processing.
    instance, count
        Type and number of the machines. A file is never split over several machines.
    protection
        Keys and tags. The network in it is ignored, because the job uses the network of its model.
    """

    model: str
    input: str
    output: str
    settings: TransformSettings = field(default_factory=TransformSettings)
    instance: str = "ml.m5.2xlarge"
    count: int = 1
    protection: Protection = UNPROTECTED

    def request(self, name: str) -> dict[str, Any]:
        """Return the request of ``CreateTransformJob``.

        Raises
        ------
        UserError
            Transform jobs do not accept the instance type, or the instance type does not accept a key for its disks.
        """
        resources = transform_resources(self.instance, self.count)
        settings = self.settings.request()
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": self.input}}
        return settings | {
            "TransformJobName": name,
            "ModelName": self.model,
            "TransformInput": {"DataSource": source, **settings["TransformInput"]},
            "TransformOutput": {"S3OutputPath": self.output, **settings["TransformOutput"], **self.protection.output},
            "TransformResources": resources | self.protection.volume("VolumeKmsKeyId", self.instance),
            **self.protection.labels,
        }
