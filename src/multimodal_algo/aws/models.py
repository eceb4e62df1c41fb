"""Models in the account: the package of an algorithm and an artifact, and the model of the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from multimodal_algo.aws.jobs import PACKAGE, wait
from multimodal_algo.aws.protection import UNPROTECTED, Protection
from multimodal_algo.aws.session import Refused, Session
from multimodal_algo.core.errors import UserError

_EXISTS = "already exist"


@dataclass(frozen=True)
class NewModel:
    """A model of an algorithm and an artifact.

    Its image may belong to another account, so the model consists of a model package.

    Parameters
    ----------
    name
        Name of the package and of the model.
    algorithm
        ARN or name of the algorithm.
    artifact
        S3 URI of ``model.tar.gz``.
    role
        ARN of the role of the model's jobs and endpoints.
    reports
        S3 URIs of the reports that the package names, by their place in ``ModelMetrics``. See `reports.write_reports`.
    is_isolated
        Whether its containers have no network. Serverless endpoints do not take isolated models.
    protection
        Network and tags. A transform job and an endpoint have keys of their own.
    """

    name: str
    algorithm: str
    artifact: str
    role: str
    reports: Mapping[str, str] = field(default_factory=dict)
    is_isolated: bool = True
    protection: Protection = UNPROTECTED

    def package_request(self) -> dict[str, Any]:
        """Return the request of ``CreateModelPackage``: the algorithm's inference image with the artifact."""
        request: dict[str, Any] = {
            "ModelPackageName": self.name,
            "SourceAlgorithmSpecification": {
                "SourceAlgorithms": [{"AlgorithmName": self.algorithm, "ModelDataUrl": self.artifact}],
            },
            **self.protection.labels,
        }
        metrics: dict[str, Any] = {}
        for place, uri in self.reports.items():
            part, name = place.split(".")
            metrics[part] = {name: {"ContentType": "application/json", "S3Uri": uri}}
        return request | ({"ModelMetrics": metrics} if metrics else {})

    def request(self, package: str) -> dict[str, Any]:
        """Return the request of ``CreateModel`` for a model package, by its ARN or name."""
        return {
            "ModelName": self.name,
            "PrimaryContainer": {"ModelPackageName": package},
            "ExecutionRoleArn": self.role,
            "EnableNetworkIsolation": self.is_isolated,
            **self.protection.network,
            **self.protection.labels,
        }


def create_model(session: Session, model: NewModel) -> None:
    """Create the package of a model, wait for it, and create the model.

    What a previous call has created is used, so a call that was interrupted is repeated as it was.

    Raises
    ------
    UserError
        The service refuses the package or the model, or another model has the name.
    """
    package = _package(session, model)
    if not session.dry_run:
        wait(session, PACKAGE, package)
    try:
        session.send("CreateModel", model.request(package))
    except Refused as refusal:
        if _EXISTS not in str(refusal):
            raise
        _require_same_model(session, model, package)


def _package(session: Session, model: NewModel) -> str:
    """Return the ARN of the model's package, which may be there already. A dry run returns its name."""
    try:
        return session.send("CreateModelPackage", model.package_request()).get("ModelPackageArn", model.name)
    except Refused as refusal:
        if _EXISTS not in str(refusal):
            raise
    described = session.call("DescribeModelPackage", {"ModelPackageName": model.name})
    sources = described.get("SourceAlgorithmSpecification", {}).get("SourceAlgorithms", [])
    containers = described.get("InferenceSpecification", {}).get("Containers", [])
    artifacts = {entry.get("ModelDataUrl") for entry in (*sources, *containers)}
    if model.artifact not in artifacts:
        raise _taken(model, "model package", "sagemaker delete-model-package --model-package-name")
    if described["ModelPackageStatus"] == "Failed":
        raise UserError(
            f"The model package {model.name} failed in a previous call. Delete it: "
            f"aws sagemaker delete-model-package --model-package-name {model.name}"
        )
    session.report(f"model package {model.name}: it is there already")
    return described["ModelPackageArn"]


def _require_same_model(session: Session, model: NewModel, package: str) -> None:
    described = session.call("DescribeModel", {"ModelName": model.name})
    if described.get("PrimaryContainer", {}).get("ModelPackageName") != package:
        raise _taken(model, "model", "sagemaker delete-model --model-name")
    session.report(f"model {model.name}: it is there already")


def _taken(model: NewModel, kind: str, command: str) -> UserError:
    return UserError(
        f"There is another {kind} called {model.name}, which is not of {model.artifact}. Give another name, or delete "
        f"it: aws {command} {model.name}"
    )
