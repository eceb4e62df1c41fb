"""Jobs in the account: start them, wait for them, describe them, stop them, and fetch their files."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from multimodal_algo.aws.requests import Training, Transform, Tuning
from multimodal_algo.aws.session import Refused, Session
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.metrics import METRICS

_POLL_S = 15.0
_FAILED = ("Failed", "Stopped", "OutOfService", "UpdateRollbackFailed")
_NOT_FOUND = ("ResourceNotFound", "ResourceNotFoundException", "ValidationException", "404", "NoSuchKey")


@dataclass(frozen=True)
class Kind:
    """A kind of SageMaker resource, for example a training job: how to ask for its status.

    Parameters
    ----------
    title
        Name of the kind in messages.
    describe
        API operation that returns the state of a resource.
    name_key
        Key of the resource's name in the request of `describe`.
    status_key
        Key of the resource's status in the answer of `describe`.
    log_group
        Log group in CloudWatch. Empty for a kind whose log has no metrics.
    stop
        Operation that stops a resource. Empty for a kind that cannot be stopped.
    done
        Status of a resource that is ready, or of a job that ended well.
    """

    title: str
    describe: str
    name_key: str
    status_key: str
    log_group: str = ""
    stop: str = ""
    done: str = "Completed"


TRAINING = Kind("training job", "DescribeTrainingJob", "TrainingJobName", "TrainingJobStatus",
                "/aws/sagemaker/TrainingJobs", "StopTrainingJob")  # fmt: skip
TRANSFORM = Kind("transform job", "DescribeTransformJob", "TransformJobName", "TransformJobStatus",
                 "/aws/sagemaker/TransformJobs", "StopTransformJob")  # fmt: skip
TUNING = Kind("tuning job", "DescribeHyperParameterTuningJob", "HyperParameterTuningJobName",
              "HyperParameterTuningJobStatus", stop="StopHyperParameterTuningJob")  # fmt: skip
ENDPOINT = Kind("endpoint", "DescribeEndpoint", "EndpointName", "EndpointStatus", done="InService")
ALGORITHM = Kind("algorithm", "DescribeAlgorithm", "AlgorithmName", "AlgorithmStatus")
PACKAGE = Kind("model package", "DescribeModelPackage", "ModelPackageName", "ModelPackageStatus")
_KINDS = (TRAINING, TRANSFORM, TUNING, ENDPOINT, ALGORITHM, PACKAGE)


def new_name(prefix: str) -> str:
    """Return a name for a new job: `prefix` and the time now."""
    return f"{prefix}-{datetime.now(UTC):%Y-%m-%d-%H-%M-%S}"


def train(session: Session, name: str, job: Training) -> None:
    """Start a training job on SageMaker."""
    session.send("CreateTrainingJob", job.request(name))


def tune(session: Session, name: str, job: Tuning) -> None:
    """Start a tuning job on SageMaker."""
    session.send("CreateHyperParameterTuningJob", job.request(name))


def transform(session: Session, name: str, job: Transform) -> None:
    """Start a batch transform job on SageMaker."""
    session.send("CreateTransformJob", job.request(name))


def artifact_of(session: Session, training_job: str) -> str:
    """Return the S3 URI of the artifact (``model.tar.gz``) that a training job has produced.

    Raises
    ------
    UserError
        There is no such job, or it has no artifact.
    """
    job = session.call("DescribeTrainingJob", {"TrainingJobName": training_job})
    artifact = job.get("ModelArtifacts", {}).get("S3ModelArtifacts")
    if not artifact:
        raise UserError(f"The training job {training_job} has no artifact: it is {job['TrainingJobStatus']}.")
    return artifact


def wait(session: Session, kind: Kind, name: str, *, poll_s: float | None = None) -> dict[str, Any]:
    """Wait until a resource is done. Report each change of its status, and each metric in its log.

    Parameters
    ----------
    session
        Session with the AWS account.
    kind
        Kind of the resource.
    name
        Name or ARN of the resource.
    poll_s
        Seconds between two checks of the status. None for 15.

    Returns
    -------
    dict
        The last description of the resource.

    Raises
    ------
    UserError
        The resource failed or was stopped. The message has the complete reason.
    """
    shown = ""
    log = _Log(session, kind, name)
    while True:
        described = session.call(kind.describe, {kind.name_key: name})
        state = _state(kind, described)
        if state != shown:
            session.report(f"{kind.title} {_short(name)}: {state}")
            shown = state
        for line in log.new_metrics():
            session.report(f"    {line}")
        if described[kind.status_key] in (kind.done, *_FAILED):
            break
        time.sleep(_POLL_S if poll_s is None else poll_s)
    if (status := described[kind.status_key]) != kind.done:
        raise UserError(f"The {kind.title} {_short(name)} is {status}: {failure(described)}")
    return described


def find(session: Session, name: str) -> tuple[Kind, dict[str, Any]]:
    """Find the resource called `name` in the account, and return its kind and description.

    If several resources have the name, the first of these is returned: training job, transform job, tuning job,
    endpoint, algorithm, package.

    Raises
    ------
    UserError
        No resource has this name.
    """
    for kind in _KINDS:
        try:
            return kind, session.call(kind.describe, {kind.name_key: name})
        except Refused as refusal:
            if refusal.code not in _NOT_FOUND:
                raise
    raise UserError(f"No {', '.join(kind.title for kind in _KINDS)} is called '{name}' in this account and region.")


def stop(session: Session, name: str) -> Kind:
    """Stop the job called `name`, and return its kind. A training job keeps its checkpoints.

    Raises
    ------
    UserError
        No job has this name, or the job has ended.
    """
    kind, described = find(session, name)
    if not kind.stop:
        remedy = f" Delete it: multimodal-algo aws delete-endpoint {name}" if kind is ENDPOINT else ""
        raise UserError(f"'{name}' is a {kind.title}, which cannot be stopped.{remedy}")
    if described[kind.status_key] in (kind.done, *_FAILED):
        raise UserError(f"The {kind.title} {name} has ended: it is {described[kind.status_key]}.")
    session.send(kind.stop, {kind.name_key: name})
    return kind


def summary(kind: Kind, described: Mapping[str, Any]) -> Iterator[str]:
    """Return the status, the results and the costs of a resource, as lines of text. `described` is its description."""
    yield f"{kind.title} {described[kind.name_key]}: {_state(kind, described)}"
    if described[kind.status_key] == "Failed":
        yield f"reason: {failure(described)}"
    for metric in described.get("FinalMetricDataList", []):
        yield _metric_line(metric)
    if artifact := described.get("ModelArtifacts", {}).get("S3ModelArtifacts"):
        yield f"artifact: {artifact}"
    if kind is TRANSFORM:
        yield f"output: {described['TransformOutput']['S3OutputPath']}"
    if seconds := described.get("BillableTimeInSeconds"):
        yield f"billed: {seconds} s"
    if best := described.get("BestTrainingJob"):
        yield f"best job: {best['TrainingJobName']} {best.get('TunedHyperParameters', {})}"
        if metric := best.get("FinalHyperParameterTuningJobObjectiveMetric"):
            yield _metric_line(metric)


def failure(described: Mapping[str, Any]) -> str:
    """Return the complete reason of a failure, from the description of a resource.

    For an algorithm, these are the reasons of its validation and of the scans of its images.
    """
    if reason := described.get("FailureReason"):
        return reason
    details = (described.get(key, {}) for key in ("AlgorithmStatusDetails", "ModelPackageStatusDetails"))
    parts = [part for detail in details for statuses in detail.values() for part in statuses]
    reasons = [f"{part['Name']}: {part['FailureReason']}" for part in parts if part.get("FailureReason")]
    return " ".join(reasons) or "the service gives no reason. Its log has more."


def download(session: Session, name: str, output: Path) -> list[Path]:
    """Download the files of a job: a training job's artifact and ``output.tar.gz``, or a transform job's answers.

    Parameters
    ----------
    session
        Session with the AWS account.
    name
        Name of the job.
    output
        Directory for the files.

    Raises
    ------
    UserError
        There is no such job, or it has no files.
    """
    from multimodal_algo.core.storage import fetch

    kind, described = find(session, name)
    if kind is TRAINING:
        # The platform writes output.tar.gz next to model.tar.gz.
        return fetch(artifact_of(session, name).rpartition("/")[0] + "/", output)
    if kind is TRANSFORM:
        return fetch(described["TransformOutput"]["S3OutputPath"].rstrip("/") + "/", output)
    raise UserError(f"'{name}' is a {kind.title}: only training and transform jobs leave files.")


class _Log:
    """The CloudWatch log of a job, from which metrics are read."""

    def __init__(self, session: Session, kind: Kind, name: str) -> None:
        self._session, self._kind, self._name = session, kind, name
        self._expressions = [re.compile(metric.expression) for metric in METRICS]
        self._seen: set[str] = set()

    def new_metrics(self) -> Iterator[str]:
        """Return the log lines with metrics that arrived since the last call."""
        for event in self._events():
            if event["eventId"] not in self._seen and self._has_metric(event["message"]):
                self._seen.add(event["eventId"])
                yield event["message"].rstrip()

    def _has_metric(self, line: str) -> bool:
        return any(expression.search(line) for expression in self._expressions)

    def _events(self) -> Iterator[dict[str, Any]]:
        if not self._kind.log_group:
            return
        request = {"logGroupName": self._kind.log_group, "logStreamNamePrefix": f"{self._name}/"}
        while True:
            try:
                answer = self._session.call("FilterLogEvents", request, service="logs")
            except Refused as refusal:
                # There is no log stream before the container runs.
                if refusal.code in _NOT_FOUND:
                    return
                raise
            yield from answer["events"]
            if not (token := answer.get("nextToken")):
                return
            request["nextToken"] = token


def _metric_line(metric: Mapping[str, Any]) -> str:
    return f"{metric['MetricName']} = {metric['Value']:.4f}"


def _state(kind: Kind, described: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (described[kind.status_key], described.get("SecondaryStatus"))))


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1] if name.startswith("arn:") else name
