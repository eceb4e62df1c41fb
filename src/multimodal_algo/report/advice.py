"""The section of the report that proposes what the user may do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from multimodal_algo.core.metrics import metrics_of
from multimodal_algo.core.schema import Modality
from multimodal_algo.report.metrics import Scores
from multimodal_algo.report.section import ReportedJob, Section

# A class with fewer held-out rows is predicted badly.
_FEW_ROWS = 10
_SHOWN = 5
# If a larger share of the rows of a class is predicted as one other class, the two classes may be the same.
_OFTEN = 0.25
# If fitting took a larger share of its budget, it was probably cut off.
_USED_UP = 0.9


def advice(job: ReportedJob) -> Section | None:
    """Return the section with proposals that follow from the results. Return None without proposals."""
    rules = (
        _worse_than_prior,
        _one_branch,
        _useless_modalities,
        _unique_columns,
        _small_classes,
        _confused,
        _more_time,
    )
    proposals = [proposal for rule in rules for proposal in rule(job)]
    return Section("What to do next", "advice", {"proposals": proposals}) if proposals else None


def _worse_than_prior(job: ReportedJob) -> Iterator[str]:
    """Yield a warning if the model is not better than the same answer for every row."""
    if job.target.task.is_regression:
        if job.metrics.fused["r2"] <= 0:
            yield "The model is not better than the mean of all labels. Check that the columns have to do with it."
        return
    most = np.bincount(job.results.targets).max() / len(job.results.targets)
    if job.metrics.fused["accuracy"] <= most:
        yield (
            f"The most frequent class alone has {most:.1%} of the rows, which is as good as the model. If rare "
            "classes matter, set class_weights=balanced. Otherwise check that the columns have to do with the label."
        )


def _one_branch(job: ReportedJob) -> Iterator[str]:
    """Yield a proposal if one modality alone is as good as all columns together."""
    images = job.results.dataset.schema.of(Modality.IMAGE)
    modalities = {"text", "num", "cat", *(f"img/{column}" for column in images)}
    if len(modalities & job.metrics.modalities.keys()) < 2:
        return
    alone = [name for name, scores in job.metrics.modalities.items() if name in modalities and _is_as_good(job, scores)]
    if alone:
        name = job.own(alone[0].removeprefix("img/"))
        yield (
            f"{name} alone is as good as all columns together, within the interval of {job.metrics.eval_metric}. "
            "Without the other columns, training and serving are faster."
        )


def _useless_modalities(job: ReportedJob) -> Iterator[str]:
    """Yield a proposal to leave out modalities without which the score hardly changes."""
    names = [job.own(name) for name, scores in job.metrics.without.items() if _is_as_good(job, scores)]
    if names and len(names) < len(job.metrics.without):
        yield f"Without {', '.join(names)} the score stays within its interval. Try a job without these columns."


def _is_as_good(job: ReportedJob, scores: Scores) -> bool:
    """Return whether the job's metric in `scores` is at least as good as the worse end of the fusion's interval."""
    name = job.metrics.eval_metric
    span = job.intervals.get(name)
    if span is None:
        return False
    low, high = span
    return bool(scores[name] >= low if metrics_of(job.target.task)[name].greater_is_better else scores[name] <= high)


def _unique_columns(job: ReportedJob) -> Iterator[str]:
    """Yield a proposal for each category column whose values are mostly unique."""
    for warning in job.warnings:
        if warning.startswith("column ") and ": mostly unique" in warning:
            name = warning.removeprefix("column ").partition(": mostly unique")[0]
            yield f"The category {name} is mostly unique, so it teaches nothing. Drop it, or make it a text column."


def _small_classes(job: ReportedJob) -> Iterator[str]:
    """Yield a proposal if some classes have few rows."""
    if job.target.task.is_regression:
        return
    counts = Counter(job.target.values.tolist())
    small = [job.target.classes[label] for label, rows in sorted(counts.items()) if rows < _FEW_ROWS]
    if small:
        shown = ", ".join(name[:40] for name in small[:_SHOWN]) + (", …" if len(small) > _SHOWN else "")
        verb = "classes have" if len(small) > 1 else "class has"
        yield f"{len(small)} {verb} fewer than {_FEW_ROWS} rows: {shown}. Add rows, or merge them with other classes."


def _confused(job: ReportedJob) -> Iterator[str]:
    """Yield a proposal about the class that is most often predicted as one other class."""
    if job.target.task.is_regression:
        return
    counts = np.bincount(job.results.targets, minlength=len(job.target.classes))
    pairs = Counter(zip(job.results.targets.tolist(), job.results.predictions.argmax(axis=1).tolist(), strict=True))
    often = [
        (rows / int(counts[a]), a, b)
        for (a, b), rows in pairs.items()
        if a != b and counts[a] >= _FEW_ROWS and rows > _OFTEN * counts[a]
    ]
    if often:
        share, a, b = max(often)
        names = job.target.classes
        yield (
            f"{share:.0%} of the rows of {names[a][:60]} are predicted as {names[b][:60]}. Look at them in "
            "predictions.csv: labels may be wrong, or a column is missing that separates the two classes."
        )


def _more_time(job: ReportedJob) -> Iterator[str]:
    """Yield a proposal: more time if the budget was used up, otherwise a better recipe than the fastest ones."""
    if job.metrics.fit_s > _USED_UP * job.hyperparameters.budget_s:
        yield "The time for fitting was used up. More of it (n_mins, n_hours) may give a better model."
    elif job.hyperparameters.quality in ("toy", "very_light"):
        yield f"quality={job.hyperparameters.quality} is for trials. quality=light or default gives better models."
