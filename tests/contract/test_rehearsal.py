"""The rehearsal finds a deliberate fault of each kind, and no fault in an algorithm without one."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from multimodal_algo.local.runner import ProcessRunner
from multimodal_algo.rehearsal.request import rehearsal_request
from multimodal_algo.rehearsal.run import Setting, rehearse

REHEARSED = ProcessRunner((sys.executable, str(Path(__file__).with_name("rehearsed.py"))))


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return rehearsal_request(None, None, None, tmp_path_factory.mktemp("sample"))


def faults(request: dict[str, Any], output: Path, *, is_quick: bool = False) -> dict[str, str]:
    lines: list[str] = []
    setting = Setting(REHEARSED, REHEARSED, output, is_quick=is_quick, report=lines.append)
    findings = rehearse(request, setting)
    assert len(lines) == len(findings.checks) == len(json.loads((output / "rehearsal.json").read_text()))
    return {check.name: check.message for check in findings.faults}


def test_an_algorithm_that_keeps_its_promises_has_no_faults(request_: dict[str, Any], tmp_path: Path) -> None:
    assert faults(request_, tmp_path) == {}


@pytest.mark.parametrize(
    ("fault", "check", "message"),
    [
        ("hyperparameter", "all declared hyperparameters", "Unknown hyperparameter n_epochs"),
        ("metric", "metrics are found in its log", "validation:log_loss match nothing"),
        ("channel", "channel validation is read", "nobody reads the channel"),
        ("model", "channel model is read", "nobody reads the channel"),
        ("pretrained", "channel pretrained is read", "nobody reads the channel"),
        ("pipe", "by Pipe", "no file is there"),
        ("failure file", "channel train is read", "without a failure file"),
        ("bug", "channel train is read", "without a word about the channel: Internal error (a bug)."),
        ("output", "transform job", "59 lines of output for 60 of input"),
        ("format", "request of application/jsonlines, response of text/csv", "415"),
        ("batch", "a line's answer is the same", "line 1"),
    ],
)
def test_a_promise_that_is_broken_is_found(
    request_: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, check: str, message: str
) -> None:
    monkeypatch.setenv("FAULT", fault)
    faulty = faults(request_, tmp_path, is_quick=fault in ("metric", "output"))
    assert any(check in name and message in seen for name, seen in faulty.items()), faulty


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: hyperparameters(r).append({"Name": "depth", "Type": "FreeText"}), "depth"),
        (lambda r: hyperparameters(r)[0].update(IsRequired=True, DefaultValue="1"), "n_hours is required and has"),
        (lambda r: metrics(r)[0].update(Regex="accuracy=.*"), "has 0 groups"),
        (lambda r: metrics(r)[0].update(Regex="accuracy=("), "is not valid"),
        (lambda r: metrics(r).pop(0), "The objective validation:accuracy is not one of the metrics"),
        (lambda r: training(r).update(HyperParameters={"qualty": "toy"}), "qualty, which is not declared"),
        (lambda r: training(r).update(HyperParameters={"quality": "finest"}), "'finest', is not one of"),
        (lambda r: training(r)["InputDataConfig"][0].update(ChannelName="training"), "has no channel train"),
        (lambda r: training(r)["InputDataConfig"][0].update(ContentType="text/tsv"), "has text/tsv"),
        (lambda r: channel(r, "model").update(IsRequired=True), "has no channel model"),
        (lambda r: transform(r)["TransformResources"].pop("TransformAmiVersion"), "CUDA 11.4"),
        (lambda r: transform(r)["TransformInput"].update(ContentType="text/tsv"), "sends text/tsv"),
    ],
)
def test_a_request_that_contradicts_itself_or_the_algorithm_is_found(
    request_: dict[str, Any], tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    changed = copy.deepcopy(request_)
    change(changed)
    faulty = faults(changed, tmp_path, is_quick=message != "depth")
    assert any(message in seen for seen in faulty.values()), faulty


def hyperparameters(request: dict[str, Any]) -> Any:
    return request["TrainingSpecification"]["SupportedHyperParameters"]


def metrics(request: dict[str, Any]) -> Any:
    return request["TrainingSpecification"]["MetricDefinitions"]


def channel(request: dict[str, Any], name: str) -> Any:
    return next(c for c in request["TrainingSpecification"]["TrainingChannels"] if c["Name"] == name)


def training(request: dict[str, Any]) -> Any:
    return request["ValidationSpecification"]["ValidationProfiles"][0]["TrainingJobDefinition"]


def transform(request: dict[str, Any]) -> Any:
    return request["ValidationSpecification"]["ValidationProfiles"][0]["TransformJobDefinition"]
