"""The rehearsal: the platform's two validation jobs, then every promise of the request that they leave untried."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from multimodal_algo.aws.specification import MODEL_TYPE
from multimodal_algo.core.errors import MultimodalError
from multimodal_algo.core.storage import local_data
from multimodal_algo.local import (
    BatchStrategy,
    Channel,
    InputMode,
    SplitType,
    TrainingJob,
    TransformJob,
    train,
    transform,
)
from multimodal_algo.local.runner import Runner
from multimodal_algo.local.server import LocalServer
from multimodal_algo.local.transform import extract
from multimodal_algo.rehearsal import data
from multimodal_algo.rehearsal.checks import Fault, Findings
from multimodal_algo.rehearsal.declared import Request, check_request, declared, some_value

_GARBAGE = "this,is\nno,dataset\n"
_FEW_ROWS = 12
# So `sagemaker.entry` begins the reason of a failure that is no user's.
_BUG = "Internal error ("


@dataclass(frozen=True)
class Setting:
    """How a rehearsal runs.

    Parameters
    ----------
    train_runner, serve_runner
        How to start the two programs.
    output
        Folder for what is left: the artifact, answers, logs, the report.
    alternatives
        Sets of metrics; a job prints all of one of them.
    is_quick
        Whether only what the platform does is done.
    tell
        Where lines for the user go.
    """

    train_runner: Runner
    serve_runner: Runner
    output: Path
    alternatives: Sequence[Sequence[str]] = ()
    is_quick: bool = False
    tell: Callable[[str], object] = print


def rehearse(request: Request, setting: Setting) -> Findings:
    """Do what the platform does when it validates the algorithm that `request` creates, and tell every check.

    The request's validation profile says what is run; its S3 URIs may also be ``file://`` URIs and paths.

    Parameters
    ----------
    request
        Of ``CreateAlgorithm``.
    setting
        How to run it.
    """
    findings = Findings(setting.tell)
    setting.output.mkdir(parents=True, exist_ok=True)
    is_well_formed = check_request(request, findings)
    profiles = request.get("ValidationSpecification", {}).get("ValidationProfiles", [])
    # What the service would refuse is not run.
    if is_well_formed and profiles:
        with tempfile.TemporaryDirectory(prefix="multimodal-rehearsal-") as scratch:
            rehearsal = _Rehearsal(request, profiles[0], setting, findings, Path(scratch))
            if rehearsal.train_and_transform() and not setting.is_quick:
                rehearsal.try_training()
                rehearsal.try_serving()
    findings.write(setting.output / "rehearsal.json")
    return findings


class _Rehearsal:
    def __init__(
        self, request: Request, profile: Mapping[str, Any], setting: Setting, findings: Findings, scratch: Path
    ) -> None:
        self._request, self._setting, self._findings = request, setting, findings
        self._training = profile["TrainingJobDefinition"]
        self._transform: Mapping[str, Any] = profile.get("TransformJobDefinition", {})
        self._scratch = scratch
        self._archive = setting.output / "platform/model.tar.gz"

    def train_and_transform(self) -> bool:
        """What the platform does; whether it went well."""
        check = self._findings.check
        self._archive.unlink(missing_ok=True)
        with check("training job of the validation profile"):
            self._train("platform", self._channels_given(), self._training.get("HyperParameters", {}))
        if not self._archive.is_file():
            return False
        with check("metrics are found in its log") as seen:
            seen.append(self._metrics_found())
        if self._transform:
            with check("transform job of the validation profile") as seen:
                seen.append(self._transform_given())
        return True

    def try_training(self) -> None:
        """Every declared hyperparameter, channel, input mode and content type of training."""
        check = self._findings.check
        channels = {entry["Name"]: entry for entry in self._request["TrainingSpecification"]["TrainingChannels"]}
        defaults = {entry["Name"]: some_value(entry) for entry in declared(self._request)}
        given = dict(self._training.get("HyperParameters", {}))
        # A program sees no difference between File and FastFile.
        for mode, told in ((InputMode.FILE, "File and FastFile"), (InputMode.PIPE, "Pipe")):
            able = [name for name, entry in channels.items() if mode in entry["SupportedInputModes"]]
            is_first = mode is InputMode.FILE
            form = "application/x-parquet" if is_first else "text/csv"
            found = {name: self._channel(name, channels[name], mode, form) for name in able}
            if not able:
                continue
            with check(f"channels {', '.join(able)} by {told}{', all declared hyperparameters' * is_first}") as seen:
                seen.extend(sorted({channel.content_type for channel in found.values()}))
                self._train(f"by-{mode}", found, (defaults if is_first else {}) | given)
        plain = {name: self._channel(name, entry, InputMode.FILE, "text/csv") for name, entry in channels.items()}
        for name in channels:
            with check(f"channel {name} is read: garbage in it fails the job") as seen:
                seen.append(self._refused(name, plain, given))

    def try_serving(self) -> None:
        """Every declared format of requests and responses, and that answers do not depend on how lines are sent."""
        check, base = self._findings.check, self._scratch / "ml"
        columns, rows = self._inference_rows()
        inference = self._request["InferenceSpecification"]
        environment = {"SAGEMAKER_BATCH": "true"}
        log = self._setting.output / "serve.log"
        server: LocalServer | None = None
        with ExitStack() as stack:
            with check("the server starts"):
                extract(self._archive, base / "model")
                server = stack.enter_context(LocalServer(self._setting.serve_runner, base, environment, log))
            if server is None:
                return
            for kind in inference["SupportedContentTypes"]:
                for accept in inference["SupportedResponseMIMETypes"]:
                    with check(f"request of {kind}, response of {accept}"):
                        if kind not in data.BODIES or accept not in data.ANSWERS:
                            raise Fault("the rehearsal knows no such format.")
                        job = TransformJob(content_type=kind, accept=accept)
                        answer = server.invoke(data.BODIES[kind](columns, rows), "request", job)
                        try:
                            count = data.ANSWERS[accept](answer)
                        except (ValueError, KeyError) as error:
                            raise Fault(f"the answer cannot be read ({error}): {answer[:80]!r}") from None
                        if count != len(rows):
                            raise Fault(f"{count} answers to {len(rows)} rows.")
            with check("a line's answer is the same alone, and at its place"):
                body = data.BODIES["text/csv"]
                job = TransformJob()
                together = server.invoke(body(columns, rows), "request", job).splitlines()
                if len(together) != len(rows):
                    raise Fault(f"{len(together)} answers to {len(rows)} rows.")
                for number, row in enumerate(rows):
                    alone = server.invoke(body(columns, [row]), "request", job).splitlines()
                    if len(alone) != 1 or not _are_close(alone[0], together[number]):
                        raise Fault(f"line {number + 1}: {alone!r} alone, {together[number]!r} among others.")

    def _train(self, name: str, channels: Mapping[str, Channel], hyperparameters: Mapping[str, str]) -> None:
        output = self._setting.output / name
        output.mkdir(parents=True, exist_ok=True)
        limit = self._training["StoppingCondition"].get("MaxRuntimeInSeconds")
        with (output / "training.log").open("w", encoding="utf-8") as log:
            job = TrainingJob(channels, hyperparameters, limit)
            train(job, output=output, runner=self._setting.train_runner, tell=log.write)

    def _channels_given(self) -> dict[str, Channel]:
        mode = self._training["TrainingInputMode"]
        return {
            entry["ChannelName"]: Channel(
                self._fetched(entry), entry.get("ContentType", "text/csv"), InputMode(entry.get("InputMode", mode))
            )
            for entry in self._training["InputDataConfig"]
        }

    def _inference_rows(self) -> tuple[list[str], list[list[str]]]:
        """The columns of a line, and a few lines: of the transform job, or of training."""
        header, rows = data.rows_of(self._train_data)
        columns = data.inference_columns(header)
        if self._transform:
            return columns, data.lines_of(self._lines_data)[:_FEW_ROWS]
        return columns, [[row[header.index(column)] for column in columns] for row in rows[:_FEW_ROWS]]

    def _fetched(self, entry: Mapping[str, Any]) -> Path:
        name = entry.get("ChannelName", "lines")
        return local_data(entry["DataSource"]["S3DataSource"]["S3Uri"], self._scratch / "given" / name)

    @cached_property
    def _train_data(self) -> Path:
        entries = {entry["ChannelName"]: entry for entry in self._training["InputDataConfig"]}
        return self._fetched(entries.get("train", self._training["InputDataConfig"][0]))

    @cached_property
    def _lines_data(self) -> Path:
        return self._fetched(self._transform["TransformInput"])

    def _channel(self, name: str, entry: Mapping[str, Any], mode: InputMode, form: str) -> Channel:
        """The validation's training rows as any channel, or the artifact of its training job.

        Images are named where the job can have them as files.
        """
        if MODEL_TYPE in entry["SupportedContentTypes"]:
            return Channel(self._archive, MODEL_TYPE, mode)
        folder = self._scratch / f"{mode}" / name
        header, rows = data.rows_of(self._train_data)
        named = data.name_images(header, rows, self._scratch / f"{mode}" / "images")
        if "image" in "".join(entry["SupportedContentTypes"]):
            return Channel(self._scratch / f"{mode}" / "images", "application/x-image", mode)
        images = {e["Name"]: e for e in self._request["TrainingSpecification"]["TrainingChannels"]}.get("images")
        if images is not None and mode in images["SupportedInputModes"]:
            rows = named
        if form == "application/x-parquet" and form in entry["SupportedContentTypes"]:
            return Channel(data.write_parquet(header, rows, folder / "part-0.parquet").parent, form, mode)
        return Channel(data.write_csv(header, rows, folder / "part-0.csv").parent, "text/csv", mode)

    def _refused(self, name: str, channels: Mapping[str, Channel], given: Mapping[str, str]) -> str:
        folder = self._scratch / "garbage" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "garbage.csv").write_text(_GARBAGE, encoding="utf-8")
        garbage = Channel(folder, channels[name].content_type)
        output = f"garbage-in-{name}"
        try:
            self._train(output, {**channels, name: garbage}, given)
        except MultimodalError as error:
            failure = self._setting.output / output / "output/failure"
            if not failure.is_file():
                raise Fault(f"the job failed without a failure file: {error}") from None
            if (reason := failure.read_text(encoding="utf-8")).startswith(_BUG):
                raise Fault(f"the job failed without a word about the channel: {reason}") from None
            return f"'{error}'"
        raise Fault("the job succeeded: nobody reads the channel.")

    def _metrics_found(self) -> str:
        log = (self._setting.output / "platform/training.log").read_text(encoding="utf-8")
        definitions = self._request["TrainingSpecification"].get("MetricDefinitions", [])
        try:
            values = {entry["Name"]: re.findall(entry["Regex"], log) for entry in definitions}
        except re.error as error:
            raise Fault(f"an expression is none ({error}).") from None
        unknown = {name for group in self._setting.alternatives for name in group}
        silent = [name for name, found in values.items() if not found]
        missing = [name for name in silent if name not in unknown]
        # Of the sets that exclude each other one is printed whole.
        lacking = sorted(([name for name in group if name in silent] for group in self._setting.alternatives), key=len)
        missing += lacking[0] if lacking else []
        if missing:
            raise Fault(f"the expressions of {', '.join(missing)} match nothing in it.")
        if bad := [name for name, found in values.items() if found and not _is_number(found[-1])]:
            raise Fault(f"what the expressions of {', '.join(bad)} match is no number.")
        return ", ".join(f"{name} {found[-1]}" for name, found in values.items() if found)

    def _transform_given(self) -> str:
        given, output = self._transform, self._setting.output / "predictions"
        job = _transform_job(given)
        lines = self._lines_data
        transform(self._archive, lines, job, output=output, runner=self._setting.serve_runner)
        told = []
        for path, answers in _pairs(lines, output):
            sent, got = _records(path), _records(answers)
            if job.split_type is SplitType.LINE and len(sent) != len(got):
                raise Fault(f"{path.name}: {len(got)} lines of output for {len(sent)} of input.")
            if empty := [number for number, line in enumerate(got, start=1) if not line.strip(b"\r\n,")]:
                raise Fault(f"{answers.name}: line {empty[0]} is empty.")
            told.append(f"{path.name}: {len(sent)} lines in, {len(got)} out")
        return ", ".join(told)


def _transform_job(given: Mapping[str, Any]) -> TransformJob:
    source, target = given["TransformInput"], given["TransformOutput"]
    strategy = given.get("BatchStrategy")
    return TransformJob(
        split_type=SplitType(source.get("SplitType", "None")),
        strategy=None if strategy is None else BatchStrategy(strategy),
        max_payload_mb=given.get("MaxPayloadInMB"),
        max_concurrent_transforms=given.get("MaxConcurrentTransforms"),
        content_type=source.get("ContentType", "text/csv"),
        accept=target.get("Accept", "text/csv"),
        assemble_with=target.get("AssembleWith", "None"),
        env=given.get("Environment", {}),
    )


def _pairs(lines: Path, output: Path) -> Iterator[tuple[Path, Path]]:
    files = [lines] if lines.is_file() else [path for path in sorted(lines.rglob("*")) if path.is_file()]
    root = lines.parent if lines.is_file() else lines
    return ((path, output / f"{path.relative_to(root).as_posix()}.out") for path in files)


def _records(path: Path) -> list[bytes]:
    return path.read_bytes().removesuffix(b"\n").split(b"\n")


def _are_close(one: bytes, other: bytes) -> bool:
    """Whether two lines are the same, up to rounding in their numbers."""
    pairs = list(zip(one.split(b","), other.split(b","), strict=False))
    return one.count(b",") == other.count(b",") and all(
        a == b or (_is_number(a.decode()) and _is_number(b.decode()) and abs(float(a) - float(b)) < 1e-4)
        for a, b in pairs
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
