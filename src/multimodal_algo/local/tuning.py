"""A tuning job on this machine: training jobs, one after the other, with hyperparameters that a search chooses."""

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
    """What is tuned for.

    Parameters
    ----------
    name
        Of the metric.
    expression
        Finds its value in a job's log, as the one group; the last match counts.
    maximize
        Its direction.
    """

    name: str
    expression: str
    maximize: bool


@dataclass(frozen=True)
class TuningJob:
    """The settings of a job, as in ``CreateHyperParameterTuningJob``.

    Parameters
    ----------
    training
        What all training jobs share.
    ranges
        ``ParameterRanges``.
    objective
        What is tuned for.
    jobs
        ``MaxNumberOfTrainingJobs``.
    is_bayesian
        Whether the strategy is ``Bayesian`` (by Optuna's TPE) and not ``Random``.
    """

    training: TrainingJob
    ranges: Mapping[str, Sequence[Mapping[str, Any]]]
    objective: Objective
    jobs: int = 10
    is_bayesian: bool = True


@dataclass(frozen=True)
class Trial:
    """One training job: its folder's name, what was chosen, and the objective; None where it failed."""

    name: str
    hyperparameters: Mapping[str, str]
    value: float | None


def tune(job: TuningJob, *, output: Path, runner: Runner | None = None, tell: Callable[[str], object] = print) -> Trial:
    """Run a tuning job: a folder per training job below `output`, and ``tuning.json``, the best job first.

    Parameters
    ----------
    job
        Its settings.
    output
        Directory of the results; made when missing.
    runner
        How to start the program; as a plain process of this installation else.
    tell
        Where lines for the user go.

    Returns
    -------
    Trial
        The best one.

    Raises
    ------
    UserError
        No job gave the objective, or Optuna is not installed.
    """
    study = _study(job)
    trials: list[Trial] = []
    for number in range(1, job.jobs + 1):
        asked = study.ask()
        chosen = {name: str(value) for name, value in _suggested(asked, job.ranges).items()}
        trial = _tried(f"job-{number:02}", chosen, job, output, runner, tell)
        trials.append(trial)
        if trial.value is None:
            study.tell(asked, state=_failed_state())
        else:
            study.tell(asked, trial.value)
            tell(f"{trial.name}: {job.objective.name} {trial.value:g} with {_shown(chosen)}")
    done = [trial for trial in trials if trial.value is not None]
    if not done:
        raise UserError(f"None of {job.jobs} training jobs gave {job.objective.name}; their logs are in {output}.")
    sign = -1 if job.objective.maximize else 1
    ranked = sorted(done, key=lambda trial: sign * (trial.value or 0.0))
    told = [vars(trial) for trial in [*ranked, *(trial for trial in trials if trial.value is None)]]
    (output / "tuning.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    best = ranked[0]
    tell(f"best: {output / best.name}, {job.objective.name} {best.value:g} with {_shown(best.hyperparameters)}")
    return best


def _tried(
    name: str,
    chosen: Mapping[str, str],
    job: TuningJob,
    output: Path,
    runner: Runner | None,
    tell: Callable[[str], object],
) -> Trial:
    folder = output / name
    folder.mkdir(parents=True, exist_ok=True)
    own = {**job.training.hyperparameters, **chosen, _OBJECTIVE_KEY: job.objective.name}
    log = folder / "training.log"
    try:
        with log.open("w", encoding="utf-8") as stream:
            train(replace(job.training, hyperparameters=own), output=folder, runner=runner, tell=stream.write)
    except UserError as error:
        # As on the platform, others go on.
        tell(f"{name}: failed with {_shown(chosen)}: {error}")
        return Trial(name, chosen, None)
    found = re.findall(job.objective.expression, log.read_text(encoding="utf-8"))
    if not found:
        tell(f"{name}: {job.objective.name} is not in its log")
    return Trial(name, chosen, float(found[-1]) if found else None)


def _study(job: TuningJob) -> Any:
    try:
        import optuna
    except ImportError:
        raise UserError("Tuning needs Optuna: pip install 'multimodal-algo[local]'.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler: Any = optuna.samplers.TPESampler if job.is_bayesian else optuna.samplers.RandomSampler
    return optuna.create_study(
        direction="maximize" if job.objective.maximize else "minimize", sampler=sampler(seed=_SEED)
    )


def _failed_state() -> Any:
    from optuna.trial import TrialState

    return TrialState.FAIL


def _suggested(trial: Any, ranges: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
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
