"""The facts that identify a job, and the report's sections about its data and its time."""

from __future__ import annotations

from datetime import UTC, datetime

from multimodal_algo import __version__
from multimodal_algo.core.column_names import DATE
from multimodal_algo.core.schema import Modality, modality_of
from multimodal_algo.report.section import ReportedJob, Section


def facts(job: ReportedJob) -> list[tuple[str, str]]:
    """Return the facts that identify the job, as pairs of a name and a value."""
    schema, target = job.results.dataset.schema, job.target
    kinds: dict[str, list[str]] = {}
    for column in job.hyperparameters.column_names.in_tables([name for each in Modality for name in schema.of(each)]):
        kinds.setdefault(str(modality_of(column) or DATE), []).append(job.own(column))
    columns = [f"{len(names)} {kind}: {', '.join(names)}" for kind, names in kinds.items()]
    kind = f"{len(target.classes)} classes" if target.classes else "numbers"
    return [
        ("Predicts", f"{job.own('label')}, {kind} ({job.metrics.problem_type})"),
        ("Training rows", f"{job.training_rows:,}"),
        ("Measured on", f"{len(job.results.targets):,} held-out rows ({job.metrics.measured_on})"),
        ("Columns", "; ".join(columns)),
        ("Settings", _settings(job)),
        ("Fitting", f"{job.metrics.fit_s:,.0f} s of {job.hyperparameters.budget_s:,.0f} s"),
        ("Made", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC by multimodal-algo {__version__}"),
    ]


def data(job: ReportedJob) -> Section | None:
    """Return the section with the warnings about the training rows. Return None without warnings."""
    return Section("The data", "data", {"warnings": job.warnings}) if job.warnings else None


def time_spent(job: ReportedJob) -> Section | None:
    """Return the section with the seconds of each stage of the job. Return None if they were not measured."""
    seconds = job.metrics.seconds
    if not seconds:
        return None
    return Section("Time spent", "time_spent", {"seconds": seconds, "most": max(seconds.values()) or 1.0})


def _settings(job: ReportedJob) -> str:
    """Return, as one text, the recipe, the metric, and the hyperparameters that differ from their defaults."""
    changed = job.hyperparameters.model_dump(exclude_defaults=True, exclude_none=True)
    changed |= {"quality": job.hyperparameters.quality, "eval_metric": job.metrics.eval_metric}
    return ", ".join(f"{name}={value}" for name, value in changed.items())
