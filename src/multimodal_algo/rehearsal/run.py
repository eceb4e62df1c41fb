"""The run of a rehearsal: the two jobs of SageMaker's validation, then checks of all else that the request declares."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from multimodal_algo.core.metrics import CLASSIFICATION, REGRESSION
from multimodal_algo.local.runner import Runner
from multimodal_algo.rehearsal.checks import Findings
from multimodal_algo.rehearsal.declared import Request, check_request
from multimodal_algo.rehearsal.profile import Profile
from multimodal_algo.rehearsal.serving import ServingChecks
from multimodal_algo.rehearsal.training import PLATFORM_JOB, TrainingChecks

_METRIC_SETS = tuple(tuple(m.platform_name for m in metrics.values()) for metrics in (CLASSIFICATION, REGRESSION))


@dataclass(frozen=True)
class Setting:
    """How a rehearsal runs: the programs, the output folder, and which checks.

    Parameters
    ----------
    train_runner, serve_runner
        Start the programs ``train`` and ``serve``.
    output
        Folder for the artifact, the answers, the logs and ``rehearsal.json``.
    metric_sets
        Sets of metrics. The log of a job has all metrics of one set, for example those of a classification.
    is_quick
        Whether to run only the two jobs of SageMaker's validation.
    report
        Shows a line to the user.
    """

    train_runner: Runner
    serve_runner: Runner
    output: Path
    metric_sets: Sequence[Sequence[str]] = _METRIC_SETS
    is_quick: bool = False
    report: Callable[[str], object] = print


def rehearse(request: Request, setting: Setting) -> Findings:
    """Rehearse the validation of an algorithm. Report each check, and return all results.

    Parameters
    ----------
    request
        A ``CreateAlgorithm`` request. Its validation profile has the jobs and their data. Instead of S3 URIs, it may
        have ``file://`` URIs and paths.
    setting
        How the rehearsal runs.
    """
    findings = Findings(setting.report)
    setting.output.mkdir(parents=True, exist_ok=True)
    # The service would refuse a request that is not well-formed, so nothing of it would run.
    if check_request(request, findings) and request.get("ValidationSpecification", {}).get("ValidationProfiles"):
        with tempfile.TemporaryDirectory(prefix="multimodal-rehearsal-") as scratch:
            _check_programs(request, setting, findings, Path(scratch))
    findings.write(setting.output / "rehearsal.json")
    return findings


def _check_programs(request: Request, setting: Setting, findings: Findings, scratch: Path) -> None:
    profile = Profile(request, setting.output / PLATFORM_JOB / "model.tar.gz", scratch)
    training = TrainingChecks(profile, setting.train_runner, setting.output, findings)
    serving = ServingChecks(profile, setting.serve_runner, setting.output, findings)
    if not training.check_profile(setting.metric_sets):
        return
    serving.check_profile()
    if not setting.is_quick:
        training.check_declarations()
        serving.check_declarations()
