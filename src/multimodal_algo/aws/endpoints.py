"""Requests for real-time, serverless and asynchronous endpoints, and for their automatic scaling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from multimodal_algo.aws.jobs import ENDPOINT, wait
from multimodal_algo.aws.names import instance_type
from multimodal_algo.aws.protection import UNPROTECTED, Protection
from multimodal_algo.aws.session import Refused, Session
from multimodal_algo.aws.specification import has_gpu
from multimodal_algo.core.errors import UserError
from multimodal_algo.sagemaker.devices import ENDPOINT_AMI

VARIANT = "AllTraffic"
"""Name of an endpoint's only variant, as SageMaker's SDK names it."""
SCALING = "application-autoscaling"
"""Service that scales the instances of an endpoint."""
# The server extracts and checks an artifact before it answers. The platform's own limit is 8 minutes.
_STARTUP_S = 1800
_EXISTS = "already exist"
_NOT_FOUND = ("could not find", "no scalable target found")


@dataclass(frozen=True)
class Serverless:
    """Capacity of a serverless endpoint, which costs nothing while it is idle.

    Parameters
    ----------
    memory_mb
        Memory in MB: 1024 to 6144, in steps of 1024.
    concurrency
        Largest number of requests at a time.
    """

    memory_mb: int = 6144
    concurrency: int = 5


@dataclass(frozen=True)
class Scaling:
    """Automatic scaling of the instances of an endpoint.

    Parameters
    ----------
    least, most
        Least and greatest number of instances. Only asynchronous endpoints may have 0 instances.
    target
        Wanted load of one instance: requests in a minute, or waiting requests if the endpoint is asynchronous.
    """

    least: int
    most: int
    target: float


@dataclass(frozen=True)
class Endpoint:
    """An endpoint of a model, with one variant.

    Parameters
    ----------
    name
        Name of the endpoint and of its configuration.
    model
        Name of the model.
    instance, count
        Type and number of the instances. Not used for a serverless endpoint.
    serverless
        Capacity of a serverless endpoint. None for an endpoint with instances.
    async_output
        S3 URI of the prefix for the answers of an asynchronous endpoint. None to answer the caller.
    scaling
        Automatic scaling. None for a fixed number of instances.
    protection
        Keys and tags. The network in it is ignored, because an endpoint uses the network of its model.
    """

    name: str
    model: str
    instance: str = "ml.m5.xlarge"
    count: int = 1
    serverless: Serverless | None = None
    async_output: str | None = None
    scaling: Scaling | None = None
    protection: Protection = UNPROTECTED

    def config_request(self) -> dict[str, Any]:
        """Return the request of ``CreateEndpointConfig``.

        Raises
        ------
        UserError
            Endpoints do not accept the instance type, or some settings exclude each other.
        """
        request: dict[str, Any] = {
            "EndpointConfigName": self.name,
            "ProductionVariants": [{"VariantName": VARIANT, "ModelName": self.model, **self._capacity()}],
            **self.protection.labels,
        }
        if self.async_output is not None:
            output = {"S3OutputPath": self.async_output, "S3FailurePath": f"{self.async_output.rstrip('/')}/failures"}
            request["AsyncInferenceConfig"] = {"OutputConfig": output | self.protection.output}
        if self.serverless is None:
            request |= self.protection.volume("KmsKeyId", self.instance)
        return request

    def request(self) -> dict[str, Any]:
        """Return the request of ``CreateEndpoint``. It is also the request of ``UpdateEndpoint``."""
        return {"EndpointName": self.name, "EndpointConfigName": self.name, **self.protection.labels}

    def scaling_requests(self) -> dict[str, dict[str, Any]]:
        """Return the requests to the scaling service, by name of the operation. Empty if the endpoint does not scale.

        Raises
        ------
        UserError
            The limits of the number of instances do not suit the endpoint.
        """
        if self.scaling is None:
            return {}
        self._require_scalable(self.scaling)
        target = _scalable(self.name)
        limits = {"MinCapacity": self.scaling.least, "MaxCapacity": self.scaling.most}
        policy = {
            "PolicyName": f"{self.name}-load",
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {"TargetValue": self.scaling.target, **self._load()},
        }
        return {"RegisterScalableTarget": target | limits, "PutScalingPolicy": target | policy}

    def _capacity(self) -> dict[str, Any]:
        if self.serverless is not None:
            if self.async_output is not None or self.scaling is not None:
                raise UserError(
                    "A serverless endpoint answers its caller and scales itself: leave the other options out."
                )
            capacity = {"MemorySizeInMB": self.serverless.memory_mb, "MaxConcurrency": self.serverless.concurrency}
            return {"ServerlessConfig": capacity}
        instance = instance_type(self.instance, "ProductionVariantInstanceType")
        request: dict[str, Any] = {
            "InstanceType": instance,
            "InitialInstanceCount": self.count,
            "ModelDataDownloadTimeoutInSeconds": _STARTUP_S,
            "ContainerStartupHealthCheckTimeoutInSeconds": _STARTUP_S,
        }
        return request | ({"InferenceAmiVersion": ENDPOINT_AMI} if has_gpu(instance) else {})

    def _require_scalable(self, scaling: Scaling) -> None:
        lowest = 1 if self.async_output is None else 0
        if not lowest <= scaling.least <= scaling.most:
            reason = "" if lowest == 0 else " An asynchronous endpoint alone may have no instance."
            raise UserError(
                f"The endpoint scales from {scaling.least} to {scaling.most} instances: the first number is from "
                f"{lowest}, and at most the second.{reason}"
            )

    def _load(self) -> dict[str, Any]:
        if self.async_output is None:
            metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
            return {"PredefinedMetricSpecification": metric}
        return {
            "CustomizedMetricSpecification": {
                "MetricName": "ApproximateBacklogSizePerInstance",
                "Namespace": "AWS/SageMaker",
                "Dimensions": [{"Name": "EndpointName", "Value": self.name}],
                "Statistic": "Average",
            }
        }


def deploy(session: Session, endpoint: Endpoint, *, is_wanted: bool = True) -> None:
    """Create an endpoint, wait until it is in service, and set up its scaling.

    If a previous call left a configuration with the same name, it is replaced.

    Parameters
    ----------
    session
        Session with the account.
    endpoint
        The endpoint.
    is_wanted
        Whether to wait. An endpoint with scaling needs the wait, because only an endpoint in service can scale.

    Raises
    ------
    UserError
        The service refuses the endpoint, the endpoint fails, or it has scaling and there is no wait. The message has
        the complete reason.
    """
    scaling = endpoint.scaling_requests()
    if scaling and not is_wanted:
        raise UserError("An endpoint scales once it is in service: leave out --no-wait.")
    _create_config(session, endpoint)
    session.send("CreateEndpoint", endpoint.request())
    if is_wanted and not session.dry_run:
        wait(session, ENDPOINT, endpoint.name)
    for operation, request in scaling.items():
        session.send(operation, request, service=SCALING)


def delete(session: Session, name: str) -> None:
    """Delete an endpoint with its scaling and its configuration. Scaling or a configuration may be missing already.

    Raises
    ------
    UserError
        There is no such endpoint, or the service refuses.
    """
    config = name
    if not session.dry_run:
        config = session.call("DescribeEndpoint", {"EndpointName": name})["EndpointConfigName"]
    _pass_over_missing(session, "DeregisterScalableTarget", _scalable(name), SCALING)
    session.send("DeleteEndpoint", {"EndpointName": name})
    _pass_over_missing(session, "DeleteEndpointConfig", {"EndpointConfigName": config}, "sagemaker")


def _create_config(session: Session, endpoint: Endpoint) -> None:
    request = endpoint.config_request()
    try:
        session.send("CreateEndpointConfig", request)
    except Refused as refusal:
        if _EXISTS not in str(refusal) or _exists(session, endpoint.name):
            raise
        session.send("DeleteEndpointConfig", {"EndpointConfigName": endpoint.name})
        session.send("CreateEndpointConfig", request)


def _exists(session: Session, name: str) -> bool:
    try:
        session.call("DescribeEndpoint", {"EndpointName": name})
    except Refused:
        return False
    return True


def _pass_over_missing(session: Session, operation: str, request: dict[str, Any], service: str) -> None:
    try:
        session.send(operation, request, service=service)
    except Refused as refusal:
        if not any(words in str(refusal).lower() for words in _NOT_FOUND):
            raise


def _scalable(name: str) -> dict[str, str]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
