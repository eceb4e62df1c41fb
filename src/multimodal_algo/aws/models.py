"""Creates models in the account. A model is made from a package, which joins the algorithm and an artifact."""

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
    """The settings of a model that joins the algorithm and an artifact.

    The algorithm's image may belong to another account. Therefore the model is made from a model package.

    Parameters
    ----------
    name
        Name of the model and of its package.
    algorithm
        ARN or name of the algorithm.
    artifact
        S3 URI of ``model.tar.gz``.
    role
        ARN of the role that the model's jobs and endpoints run as.
    reports
        S3 URIs of the reports of the package, by their keys in ``ModelMetrics``. See `reports.write_reports`.
    is_isolated
        Whether the model's containers have no network. Serverless endpoints do not accept isolated models.
    protection
        Network and tags. Its keys are ignored, because transform jobs and endpoints have their own settings of keys.
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
    """Create the package of a model, wait until it is ready, and create the model.

    A call that was interrupted may be repeated: a package or model that it created is used again.

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
    """Create the model's package if it does not exist. Return its ARN, or in a dry run its name."""
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
