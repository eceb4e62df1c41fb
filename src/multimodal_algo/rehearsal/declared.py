"""The checks of a ``CreateAlgorithm`` request that start no program."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from multimodal_algo.aws.model import problems
from multimodal_algo.rehearsal.checks import Fault, Findings

Request = Mapping[str, Any]


def check_request(request: Request, findings: Findings) -> bool:
    """Check the request against botocore's description of the service, and then its parts against each other.

    Return whether the service would accept the request. Contradictions between its parts do not change the result.
    """
    refused = problems("CreateAlgorithm", _as_if_in_s3(request))
    with findings.check("request: fits the service's model"):
        if refused:
            raise Fault(" ".join(refused))
    if refused:
        return False
    for name, faults in (
        ("request: hyperparameters", _hyperparameters(request)),
        ("request: metrics", _metrics(request)),
        ("request: validation", _validation(request)),
    ):
        with findings.check(name):
            if sentences := list(faults):
                raise Fault(" ".join(sentences))
    return True


def _hyperparameters(request: Request) -> Iterator[str]:
    seen: set[str] = set()
    for entry in declared(request):
        name = entry["Name"]
        if name in seen:
            yield f"{name} is declared twice."
        seen.add(name)
        # API, HyperParameterSpecification: a hyperparameter with a default cannot be required.
        if entry.get("IsRequired") and "DefaultValue" in entry:
            yield f"{name} is required and has a default."
        if entry["Type"] == "FreeText" and ("Range" in entry or entry.get("IsTunable")):
            yield f"{name} is free text, which has no range and is not tunable."
        if "DefaultValue" in entry and (problem := _outside(entry, entry["DefaultValue"])):
            yield f"The default of {name}, {problem}."


def _metrics(request: Request) -> Iterator[str]:
    specification = request.get("TrainingSpecification", {})
    names = [entry["Name"] for entry in specification.get("MetricDefinitions", [])]
    for entry in specification.get("MetricDefinitions", []):
        try:
            groups = re.compile(entry["Regex"]).groups
        except re.error as error:
            yield f"The expression of {entry['Name']} is not valid ({error})."
            continue
        if groups != 1:
            yield f"The expression of {entry['Name']} has {groups} groups: it must have one, which is the value."
    for objective in specification.get("SupportedTuningJobObjectiveMetrics", []):
        if objective["MetricName"] not in names:
            yield f"The objective {objective['MetricName']} is not one of the metrics."


def _validation(request: Request) -> Iterator[str]:
    profiles = request.get("ValidationSpecification", {}).get("ValidationProfiles", [])
    if not profiles:
        yield "There is no validation profile."
        return
    training = profiles[0]["TrainingJobDefinition"]
    specification = request.get("TrainingSpecification", {})
    yield from _set_hyperparameters(request, training)
    yield from _set_channels(specification, training)
    yield from _instance(training["ResourceConfig"], specification.get("SupportedTrainingInstanceTypes", []))
    if transform := profiles[0].get("TransformJobDefinition"):
        yield from _transform(request.get("InferenceSpecification", {}), transform)


def _set_hyperparameters(request: Request, training: Mapping[str, Any]) -> Iterator[str]:
    by_name = {entry["Name"]: entry for entry in declared(request)}
    for name, value in training.get("HyperParameters", {}).items():
        if name not in by_name:
            yield f"The training job sets {name}, which is not declared."
        elif problem := _outside(by_name[name], value):
            yield f"The training job's {name}, {problem}."


def _set_channels(specification: Mapping[str, Any], training: Mapping[str, Any]) -> Iterator[str]:
    channels = {entry["Name"]: entry for entry in specification.get("TrainingChannels", [])}
    inputs = {entry["ChannelName"]: entry for entry in training["InputDataConfig"]}
    for name, channel in channels.items():
        if channel["IsRequired"] and name not in inputs:
            yield f"The training job has no channel {name}."
    for name, entry in inputs.items():
        if name not in channels:
            yield f"The training job's channel {name} is not declared."
            continue
        mode = entry.get("InputMode", training["TrainingInputMode"])
        if mode not in channels[name]["SupportedInputModes"]:
            yield f"The training job's channel {name} comes as {mode}, which is not declared."
        if entry.get("ContentType", "text/csv") not in channels[name]["SupportedContentTypes"]:
            yield f"The training job's channel {name} has {entry['ContentType']}, which is not declared."


def _transform(inference: Mapping[str, Any], transform: Mapping[str, Any]) -> Iterator[str]:
    resources = transform["TransformResources"]
    yield from _instance(resources, inference.get("SupportedTransformInstanceTypes", []))
    if re.match(r"ml\.(g|p)\d", resources["InstanceType"]) and "TransformAmiVersion" not in resources:
        yield "The transform job has a GPU and no TransformAmiVersion: its driver is of CUDA 11.4."
    kind, accept = transform["TransformInput"].get("ContentType"), transform["TransformOutput"].get("Accept")
    if kind and kind not in inference.get("SupportedContentTypes", []):
        yield f"The transform job sends {kind}, which is not declared."
    if accept and accept not in inference.get("SupportedResponseMIMETypes", []):
        yield f"The transform job accepts {accept}, which is not declared."


def _as_if_in_s3(value: Any) -> Any:
    """Return the request with ``s3://`` instead of ``file://`` URIs, which the service's description does not allow."""
    if isinstance(value, Mapping):
        return {name: _as_if_in_s3(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_as_if_in_s3(member) for member in value]
    return f"s3://{value.removeprefix('file:///')}" if isinstance(value, str) and value.startswith("file://") else value


def declared(request: Request) -> list[Mapping[str, Any]]:
    """Return the specifications of the hyperparameters (name, type, range) that a CreateAlgorithm request lists."""
    return request.get("TrainingSpecification", {}).get("SupportedHyperParameters", [])


def any_value(entry: Mapping[str, Any]) -> str:
    """Return an allowed value of a declared hyperparameter: its default, or a value from its range.

    From a range, 1 is taken if possible. The smallest value may be 0, and a program may refuse to run for 0 seconds.
    """
    if "DefaultValue" in entry:
        return entry["DefaultValue"]
    for span in entry.get("Range", {}).values():
        if "Values" in span:
            return span["Values"][0]
        return span["MinValue"] if _outside(entry, "1") else "1"
    return "1"


def _instance(resources: Mapping[str, Any], supported: list[str]) -> Iterator[str]:
    if resources["InstanceType"] not in supported:
        yield f"The instance type {resources['InstanceType']} is not declared."


def _outside(entry: Mapping[str, Any], value: str) -> str:
    """Return how a value lies outside the declared range. Empty if it lies inside."""
    for kind, span in entry.get("Range", {}).items():
        if kind.startswith("Categorical"):
            return "" if value in span["Values"] else f"'{value}', is not one of {', '.join(span['Values'])}"
        try:
            is_inside = float(span["MinValue"]) <= float(value) <= float(span["MaxValue"])
        except ValueError:
            is_inside = False
        return "" if is_inside else f"{value}, is not from {span['MinValue']} to {span['MaxValue']}"
    return ""
