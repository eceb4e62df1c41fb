"""Jobs and models in the account: created, waited for, told of, fetched."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multimodal_algo.aws.requests import Training, Transform, Tuning, model_package_request, model_request
from multimodal_algo.aws.session import Refused, Session
from multimodal_algo.aws.specification import metric_definitions
from multimodal_algo.core.errors import UserError

_POLL_S = 15.0
_DONE = ("Completed", "Failed", "Stopped")
_NOT_THERE = ("ResourceNotFound", "ResourceNotFoundException", "ValidationException", "404", "NoSuchKey")


@dataclass(frozen=True)
class Kind:
    """What can be asked about by name.

    Parameters
    ----------
    title
        For people.
    describe
        Operation that tells its state.
    name_key, status_key
        Of that operation's request, and of its answer.
    log_group
        CloudWatch's; empty where it writes none.
    """

    title: str
    describe: str
    name_key: str
    status_key: str
    log_group: str = ""


TRAINING = Kind("training job", "DescribeTrainingJob", "TrainingJobName", "TrainingJobStatus",
                "/aws/sagemaker/TrainingJobs")  # fmt: skip
TRANSFORM = Kind("transform job", "DescribeTransformJob", "TransformJobName", "TransformJobStatus",
                 "/aws/sagemaker/TransformJobs")  # fmt: skip
TUNING = Kind("tuning job", "DescribeHyperParameterTuningJob", "HyperParameterTuningJobName",
              "HyperParameterTuningJobStatus")  # fmt: skip
ALGORITHM = Kind("algorithm", "DescribeAlgorithm", "AlgorithmName", "AlgorithmStatus")
PACKAGE = Kind("model package", "DescribeModelPackage", "ModelPackageName", "ModelPackageStatus")
_KINDS = (TRAINING, TRANSFORM, TUNING, ALGORITHM, PACKAGE)


def train(session: Session, name: str, job: Training) -> None:
    """Start a training job."""
    session.send("CreateTrainingJob", job.request(name))


def tune(session: Session, name: str, job: Tuning) -> None:
    """Start a tuning job."""
    session.send("CreateHyperParameterTuningJob", job.request(name))


def transform(session: Session, name: str, job: Transform) -> None:
    """Start a transform job."""
    session.send("CreateTransformJob", job.request(name))


def create_model(session: Session, name: str, algorithm: str, artifact: str, role: str) -> None:
    """Make a model of an algorithm and an artifact in S3: a model package of that name first, then the model.

    Raises
    ------
    UserError
        The package could not be made.
    """
    answer = session.send("CreateModelPackage", model_package_request(name, algorithm, artifact))
    if not session.dry_run:
        wait(session, PACKAGE, answer["ModelPackageArn"])
    session.send("CreateModel", model_request(name, answer.get("ModelPackageArn", name), role))


def artifact_of(session: Session, training_job: str) -> str:
    """The S3 URI of a finished training job's ``model.tar.gz``.

    Raises
    ------
    UserError
        There is no such job, or it has no artifact.
    """
    found = session.ask("DescribeTrainingJob", {"TrainingJobName": training_job})
    artifact = found.get("ModelArtifacts", {}).get("S3ModelArtifacts")
    if not artifact:
        raise UserError(f"The training job {training_job} has no artifact: it is {found['TrainingJobStatus']}.")
    return artifact


def wait(session: Session, kind: Kind, name: str, *, poll_s: float = _POLL_S) -> dict[str, Any]:
    """Wait until it is done, telling each change of its status and each metric in its log.

    Returns
    -------
    dict
        What its operation answers at last.

    Raises
    ------
    UserError
        It failed or was stopped; the message has the whole reason.
    """
    told = ""
    lines = _Log(session, kind, name)
    while True:
        found = session.ask(kind.describe, {kind.name_key: name})
        status = found[kind.status_key]
        now = _state(kind, found)
        if now != told:
            session.tell(f"{kind.title} {_short(name)}: {now}")
            told = now
        for line in lines.metrics():
            session.tell(f"    {line}")
        if status in _DONE:
            break
        time.sleep(poll_s)
    if status != "Completed":
        raise UserError(f"The {kind.title} {_short(name)} is {status}: {failure(found)}")
    return found


def find(session: Session, name: str) -> tuple[Kind, dict[str, Any]]:
    """What is called `name` in the account: the first of a training, transform or tuning job, algorithm or package.

    Raises
    ------
    UserError
        Nothing is.
    """
    for kind in _KINDS:
        try:
            return kind, session.ask(kind.describe, {kind.name_key: name})
        except Refused as refusal:
            if refusal.code not in _NOT_THERE:
                raise
    raise UserError(f"No {', '.join(kind.title for kind in _KINDS)} is called '{name}' in this account and region.")


def summary(kind: Kind, found: Mapping[str, Any]) -> Iterator[str]:
    """What a user wants to know of it, line by line."""
    yield f"{kind.title} {found[kind.name_key]}: {_state(kind, found)}"
    if found[kind.status_key] == "Failed":
        yield f"reason: {failure(found)}"
    for metric in found.get("FinalMetricDataList", []):
        yield f"{metric['MetricName']} = {metric['Value']:.4f}"
    if artifact := found.get("ModelArtifacts", {}).get("S3ModelArtifacts"):
        yield f"artifact: {artifact}"
    if kind is TRANSFORM:
        yield f"output: {found['TransformOutput']['S3OutputPath']}"
    if seconds := found.get("BillableTimeInSeconds"):
        yield f"billed: {seconds} s"
    if best := found.get("BestTrainingJob"):
        yield f"best job: {best['TrainingJobName']} {best.get('TunedHyperParameters', {})}"
        if metric := best.get("FinalHyperParameterTuningJobObjectiveMetric"):
            yield f"{metric['MetricName']} = {metric['Value']:.4f}"


def failure(found: Mapping[str, Any]) -> str:
    """Why it failed, in full: the job's reason, or those of an algorithm's validation and of its image scans."""
    if reason := found.get("FailureReason"):
        return reason
    details = (found.get(key, {}) for key in ("AlgorithmStatusDetails", "ModelPackageStatusDetails"))
    items = [item for detail in details for several in detail.values() for item in several]
    reasons = [f"{item['Name']}: {item['FailureReason']}" for item in items if item.get("FailureReason")]
    return " ".join(reasons) or "no reason is given; its log has more."


def download(session: Session, name: str, output: Path) -> list[Path]:
    """Fetch what a job has left: a training job's artifact and ``output.tar.gz``, a transform job's answers.

    Raises
    ------
    UserError
        There is no such job, or it has left nothing.
    """
    from multimodal_algo.core.storage import fetch

    kind, found = find(session, name)
    if kind is TRAINING:
        # output.tar.gz lies beside model.tar.gz.
        return fetch(artifact_of(session, name).rpartition("/")[0] + "/", output)
    if kind is TRANSFORM:
        return fetch(found["TransformOutput"]["S3OutputPath"].rstrip("/") + "/", output)
    raise UserError(f"'{name}' is a {kind.title}: only training and transform jobs leave files.")


class _Log:
    """The metric lines of a job's log, each once."""

    def __init__(self, session: Session, kind: Kind, name: str) -> None:
        self._session, self._kind, self._name = session, kind, name
        self._patterns = [re.compile(entry["Regex"]) for entry in metric_definitions()]
        self._seen: set[str] = set()

    def metrics(self) -> Iterator[str]:
        if not self._kind.log_group:
            return
        request = {"logGroupName": self._kind.log_group, "logStreamNamePrefix": f"{self._name}/"}
        while True:
            try:
                answer = self._session.ask("FilterLogEvents", request, service="logs")
            except Refused as refusal:
                # No stream is there before the container runs.
                if refusal.code in _NOT_THERE:
                    return
                raise
            for event in answer["events"]:
                if event["eventId"] not in self._seen and any(p.search(event["message"]) for p in self._patterns):
                    self._seen.add(event["eventId"])
                    yield event["message"].rstrip()
            if not (token := answer.get("nextToken")):
                return
            request["nextToken"] = token


def _state(kind: Kind, found: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (found[kind.status_key], found.get("SecondaryStatus"))))


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1] if name.startswith("arn:") else name
