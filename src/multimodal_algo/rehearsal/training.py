"""The checks of training: the training job of the validation profile, and every declared form of input."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from multimodal_algo.core.errors import MultimodalError
from multimodal_algo.local import ChannelData, InputMode, TrainingJob, train
from multimodal_algo.local.runner import Runner
from multimodal_algo.rehearsal.checks import Fault, Findings
from multimodal_algo.rehearsal.data import is_number
from multimodal_algo.rehearsal.declared import any_value, declared
from multimodal_algo.rehearsal.profile import CSV, PARQUET, Profile

PLATFORM_JOB = "platform"
"""Folder of the results of the validation profile's training job, whose artifact later checks use."""

_GARBAGE = "this,is\nno,dataset\n"
# `training.program` begins the reason of a bug in this way.
_BUG = "Internal error ("


class TrainingChecks:
    """Runs the checks of training.

    Parameters
    ----------
    profile
        Validation profile of the request.
    runner
        Starts the program ``train``.
    output
        Folder for the results of each job.
    findings
        Collects the results of the checks.
    """

    def __init__(self, profile: Profile, runner: Runner, output: Path, findings: Findings) -> None:
        self._profile, self._runner, self._output, self._findings = profile, runner, output, findings

    def check_profile(self, metric_sets: Sequence[Sequence[str]]) -> bool:
        """Run the training job of the validation profile. Return whether it made an artifact.

        Parameters
        ----------
        metric_sets
            Sets of metrics. The log of a job has all metrics of one set, for example those of a classification.
        """
        self._profile.archive.unlink(missing_ok=True)
        with self._findings.check("training job of the validation profile"):
            self._train(PLATFORM_JOB, self._profile.training_channels(), self._profile.hyperparameters)
        if not self._profile.archive.is_file():
            return False
        with self._findings.check("metrics are found in its log") as seen:
            seen.append(self._find_metrics(metric_sets))
        return True

    def check_declarations(self) -> None:
        """Check every declared hyperparameter, channel, input mode and content type of training."""
        defaults = {entry["Name"]: any_value(entry) for entry in declared(self._profile.request)}
        # A program sees no difference between File and FastFile.
        self._check_mode(InputMode.FILE, "File and FastFile, all declared hyperparameters", PARQUET, defaults)
        self._check_mode(InputMode.PIPE, "Pipe", CSV, {})
        names = list(self._profile.declared_channels)
        channels = {name: self._profile.channel(name, InputMode.FILE, CSV) for name in names}
        for name in names:
            with self._findings.check(f"channel {name} is read: garbage in it fails the job") as seen:
                seen.append(self._refusal_of_garbage(name, channels))

    def _check_mode(self, mode: InputMode, title: str, content_type: str, defaults: Mapping[str, str]) -> None:
        """Run a training job with every input channel that declares this input mode (File or Pipe)."""
        declared_channels = self._profile.declared_channels
        names = [name for name, entry in declared_channels.items() if mode in entry["SupportedInputModes"]]
        if not names:
            return
        channels = {name: self._profile.channel(name, mode, content_type) for name in names}
        with self._findings.check(f"channels {', '.join(names)} by {title}") as seen:
            seen.extend(sorted({channel.content_type for channel in channels.values()}))
            self._train(f"by-{mode}", channels, {**defaults, **self._profile.hyperparameters})

    def _refusal_of_garbage(self, name: str, channels: Mapping[str, ChannelData]) -> str:
        """Put a meaningless file into one input channel, and return the reason with which the training job fails.

        This shows that the job reads the channel.

        Raises
        ------
        Fault
            The job succeeds, or fails without a proper reason.
        """
        folder = self._profile.scratch / "garbage" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "garbage.csv").write_text(_GARBAGE, encoding="utf-8")
        garbage = ChannelData(folder, channels[name].content_type)
        job = f"garbage-in-{name}"
        try:
            self._train(job, {**channels, name: garbage}, self._profile.hyperparameters)
        except MultimodalError as error:
            self._require_failure_file(self._output / job / "output/failure", str(error))
            return f"'{error}'"
        raise Fault("the job succeeded: nobody reads the channel.")

    def _require_failure_file(self, path: Path, error: str) -> None:
        if not path.is_file():
            raise Fault(f"the job failed without a failure file: {error}")
        if (reason := path.read_text(encoding="utf-8")).startswith(_BUG):
            raise Fault(f"the job failed without a word about the channel: {reason}")

    def _train(self, job: str, channels: Mapping[str, ChannelData], hyperparameters: Mapping[str, str]) -> None:
        output = self._output / job
        output.mkdir(parents=True, exist_ok=True)
        limit = self._profile.training["StoppingCondition"].get("MaxRuntimeInSeconds")
        with (output / "training.log").open("w", encoding="utf-8") as log:
            train(TrainingJob(channels, hyperparameters, limit), output=output, runner=self._runner, log=log.write)

    def _find_metrics(self, metric_sets: Sequence[Sequence[str]]) -> str:
        """Return the last value of each metric in the log of the validation profile's training job, as text."""
        values = self._matches()
        optional = {name for names in metric_sets for name in names}
        absent = [name for name, matches in values.items() if not matches]
        # The set that lacks the fewest metrics is the one that the job has.
        absent_of_sets = sorted(([name for name in names if name in absent] for names in metric_sets), key=len)
        missing = [name for name in absent if name not in optional] + (absent_of_sets[0] if absent_of_sets else [])
        if missing:
            raise Fault(f"the expressions of {', '.join(missing)} match nothing in it.")
        last = {name: matches[-1] for name, matches in values.items() if matches}
        if bad := [name for name, value in last.items() if not is_number(value)]:
            raise Fault(f"the expressions of {', '.join(bad)} match text that is not a number.")
        return ", ".join(f"{name} {value}" for name, value in last.items())

    def _matches(self) -> dict[str, list[str]]:
        log = (self._output / PLATFORM_JOB / "training.log").read_text(encoding="utf-8")
        definitions = self._profile.request["TrainingSpecification"].get("MetricDefinitions", [])
        try:
            return {entry["Name"]: re.findall(entry["Regex"], log) for entry in definitions}
        except re.error as error:
            raise Fault(f"an expression is not valid ({error}).") from None
