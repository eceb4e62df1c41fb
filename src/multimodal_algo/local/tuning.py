"""Runs a tuning job on this machine: training jobs one after the other, with hyperparameters that a search chooses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from multimodal_algo.core.errors import UserError
from multimodal_algo.local.runner import Runner
from multimodal_algo.local.training import TrainingJob, train

_OBJECTIVE_KEY = "_tuning_objective_metric"
_SEED = 0


@dataclass(frozen=True)
class Objective:
    """The metric that a tuning job optimises.

    Parameters
    ----------
    name
        Name of the metric.
    expression
        Regular expression whose only group finds the metric's value in a job's log. The last match counts.
    maximize
        Whether larger values are better.
    """

    name: str
    expression: str
    maximize: bool


@dataclass(frozen=True)
class TuningJob:
    """The settings of a tuning job, as in ``CreateHyperParameterTuningJob``.

    Parameters
    ----------
    training
        Settings that all training jobs share.
    ranges
        Ranges of the hyperparameters that the search chooses, as in ``ParameterRanges``.
    objective
        The metric to optimise.
    jobs
        Number of training jobs, ``MaxNumberOfTrainingJobs``.
    is_bayesian
        Whether the strategy is ``Bayesian``, for which Optuna's TPE is used. Otherwise it is ``Random``.
    """

    training: TrainingJob
    ranges: Mapping[str, Sequence[Mapping[str, Any]]]
    objective: Objective
    jobs: int = 10
    is_bayesian: bool = True


@dataclass(frozen=True)
class Trial:
    """One training job of a tuning job, with its result.

    Parameters
    ----------
    name
        Name of the training job's folder.
    hyperparameters
        Hyperparameters that the search chose.
    value
        Value of the objective. None if the job failed or did not log it.
    """

    name: str
    hyperparameters: Mapping[str, str]
    value: float | None


def tune(
    job: TuningJob, *, output: Path, runner: Runner | None = None, report: Callable[[str], object] = print
) -> Trial:
    """Run a tuning job. Write a folder for each training job, and ``tuning.json`` with the best job first.

    Parameters
    ----------
    job
        Settings of the job.
    output
        Directory for the results. It is created if it does not exist.
    runner
        Starts the program. None starts a plain process of this installation.
    report
        Called with each line for the user.

    Returns
    -------
    Trial
        The best training job.

    Raises
    ------
    UserError
        No training job logged the objective, or Optuna is not installed.
    """
    sign = -1 if job.objective.maximize else 1
    trials = _run_all(job, output, runner, report)
    ranked = sorted(trials, key=lambda trial: (trial.value is None, sign * (trial.value or 0.0)))
    best = ranked[0]
    if best.value is None:
        raise UserError(f"None of {job.jobs} training jobs gave {job.objective.name}. Their logs are in {output}.")
    entries = [vars(trial) for trial in ranked]
    (output / "tuning.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    report(f"best: {output / best.name}, {job.objective.name} {best.value:g} with {_shown(best.hyperparameters)}")
    return best


def _run_all(job: TuningJob, output: Path, runner: Runner | None, report: Callable[[str], object]) -> list[Trial]:
    """Run the training jobs one after the other.

    The search learns from each result before it chooses the next values.
    """
    study = _study(job)
    trials: list[Trial] = []
    for number in range(1, job.jobs + 1):
        suggestion = study.ask()
        chosen = {name: str(value) for name, value in _chosen(suggestion, job.ranges).items()}
        trial = _run(f"job-{number:02}", chosen, job, output=output, runner=runner, report=report)
        trials.append(trial)
        if trial.value is None:
            study.tell(suggestion, state=_failed_state())
        else:
            study.tell(suggestion, trial.value)
            report(f"{trial.name}: {job.objective.name} {trial.value:g} with {_shown(chosen)}")
    return trials


def _run(
    name: str,
    chosen: Mapping[str, str],
    job: TuningJob,
    *,
    output: Path,
    runner: Runner | None,
    report: Callable[[str], object],
) -> Trial:
    folder = output / name
    folder.mkdir(parents=True, exist_ok=True)
    own = {**job.training.hyperparameters, **chosen, _OBJECTIVE_KEY: job.objective.name}
    log = folder / "training.log"
    try:
        with log.open("w", encoding="utf-8") as stream:
            train(replace(job.training, hyperparameters=own), output=folder, runner=runner, log=stream.write)
    except UserError as error:
        # As on the platform, the next training jobs still run.
        report(f"{name}: failed with {_shown(chosen)}: {error}")
        return Trial(name, chosen, None)
    values = re.findall(job.objective.expression, log.read_text(encoding="utf-8"))
    if not values:
        report(f"{name}: {job.objective.name} is not in {log}")
    return Trial(name, chosen, float(values[-1]) if values else None)


def _study(job: TuningJob) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler: Any = optuna.samplers.TPESampler if job.is_bayesian else optuna.samplers.RandomSampler
    return optuna.create_study(
        direction="maximize" if job.objective.maximize else "minimize", sampler=sampler(seed=_SEED)
    )


def _failed_state() -> Any:
    from optuna.trial import TrialState

    return TrialState.FAIL


def _chosen(trial: Any, ranges: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for entry in ranges.get("IntegerParameterRanges", ()):
        chosen[entry["Name"]] = trial.suggest_int(entry["Name"], int(entry["MinValue"]), int(entry["MaxValue"]))
    for entry in ranges.get("ContinuousParameterRanges", ()):
        chosen[entry["Name"]] = trial.suggest_float(entry["Name"], float(entry["MinValue"]), float(entry["MaxValue"]))
    for entry in ranges.get("CategoricalParameterRanges", ()):
        chosen[entry["Name"]] = trial.suggest_categorical(entry["Name"], list(entry["Values"]))
    return chosen


def _shown(hyperparameters: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in hyperparameters.items())
