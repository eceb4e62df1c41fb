"""Checks whether a job can learn the labels of its data. Training and the command ``validate`` share them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from multimodal_algo.core.aims import CONFIDENCE, Aim, DecisionSettings
from multimodal_algo.core.labels import binary_problem, detect_problem_type, number_of
from multimodal_algo.core.memory import available_bytes
from multimodal_algo.core.metrics import IMBALANCED, metrics_of
from multimodal_algo.core.proportions import least_rows
from multimodal_algo.core.schema import FeatureSchema, Modality
from multimodal_algo.core.task import Task
from multimodal_algo.core.values import classes_of, label_keys

_VOTE_BYTES = 4
# The votes, and what is computed from them while they are combined.
_TIMES_IN_MEMORY = 2


@dataclass(frozen=True)
class LabelSettings:
    """The settings of a job that restrict which labels its data may have.

    Parameters
    ----------
    problem_type, eval_metric
        The hyperparameters of these names.
    class_weights
        ``even``, ``balanced``, or weights by label.
    known_classes
        Classes of the previous model. The job uses them if they include all labels. Empty without a previous model.
    decisions
        The user's settings of thresholds and abstention.
    """

    problem_type: str = "auto"
    eval_metric: str = "auto"
    class_weights: Mapping[str, float] | str = "even"
    known_classes: Sequence[str] = ()
    decisions: DecisionSettings = field(default_factory=DecisionSettings)


def label_problems(counts: Mapping[str, int], schema: FeatureSchema, settings: LabelSettings) -> list[str]:
    """Return the reasons why a job with these settings cannot learn these labels, as sentences. Empty if it can.

    Parameters
    ----------
    counts
        Number of rows by class, see `class_counts`.
    schema
        The columns.
    settings
        The settings that restrict the labels.
    """
    kind, classes, known = settings.problem_type, tuple(counts), tuple(settings.known_classes)
    if kind != "regression" and known and set(classes_of(counts, known).values()) <= set(known):
        kind, classes = "multiclass", known
    elif kind == "auto":
        kind = detect_problem_type(counts)
    task = Task.regression() if kind == "regression" else Task.of_classes(len(classes))
    problems = [
        binary_problem(len(classes)) if kind == "binary" else None,
        metric_problem(settings.eval_metric, task),
        weights_problem(settings.class_weights, () if task.is_regression else classes),
        settings.decisions.problem(() if task.is_regression else classes),
    ]
    if not task.is_regression:
        problems.append(memory_problem(counts, len(classes), schema))
    return [problem for problem in problems if problem is not None]


def decision_warnings(counts: Mapping[str, int], settings: DecisionSettings) -> list[str]:
    """Return warnings about classes that have too few rows for certain decisions, as sentences.

    Parameters
    ----------
    counts
        Number of rows by class, the largest first. Empty for a regression.
    settings
        Settings of thresholds and abstention.
    """
    rows = sum(counts.values())
    warnings = []
    if len(counts) > 1 and max(counts.values()) >= IMBALANCED * rows:
        largest, *rare = counts
        rest = rows - counts[largest]
        have = f"'{rare[0][:40]}' has" if len(rare) == 1 else f"the other {len(rare)} classes have"
        warnings.append(
            f"column label: {counts[largest] / rows:.1%} of the rows are of '{largest[:40]}', so that accuracy says "
            f"little: {have} {rest:,} of {rows:,} rows. Look at average_precision and f1, and set decision_threshold, "
            "for example to f1 or recall>=0.9."
        )
    if settings.problem(tuple(counts)) is None:
        labels = sorted(counts, key=counts.__getitem__)  # of two classes, the rarer one is first
        positive = labels.index(settings.positive_class) if settings.positive_class in labels else 0
        for index, aim in settings.aims_by_index(labels, positive).items():
            if (needed := rows_needed(aim)) > counts[labels[index]]:
                warnings.append(
                    f"decision_threshold: {aim.text} cannot be promised for '{labels[index][:40]}', which has "
                    f"{counts[labels[index]]} rows. It needs at least {needed}, if all of them are right."
                )
    return warnings


def rows_needed(aim: Aim) -> int:
    """Return the least number of rows of a class with which an aim can be promised. 0 if the aim promises nothing."""
    return least_rows(aim.value, CONFIDENCE) if aim.kind.is_promise else 0


def metric_problem(metric: str, task: Task) -> str | None:
    """Return a sentence if the metric set as ``eval_metric`` does not suit the task. Otherwise return None."""
    if metric == "auto" or metric in metrics_of(task):
        return None
    return (
        f"eval_metric is {metric}, but the labels ask for {task.problem_type}: choose one of "
        f"{', '.join(metrics_of(task))}, or set problem_type."
    )


def weights_problem(wanted: Mapping[str, float] | str, classes: Sequence[str]) -> str | None:
    """Return a sentence if the class weights that a user wants do not suit the classes. Otherwise return None.

    `classes` is empty for a regression.
    """
    if wanted == "even":
        return None
    if not classes:
        return "class_weights is set, but the labels are numbers, which have no classes."
    keys = set(label_keys(classes).values())
    named = {} if isinstance(wanted, str) else label_keys(wanted, are_like=keys)
    for label, key in named.items():
        if key not in keys:
            close = difflib.get_close_matches(label, classes, n=1)
            hint = f" Did you mean '{close[0][:60]}'?" if close else ""
            return f"class_weights names '{label[:60]}', which is not a label of the data.{hint}"
    return None


def memory_problem(counts: Mapping[str, int], classes: int, schema: FeatureSchema) -> str | None:
    """Return a sentence if the votes of all rows would not fit into memory. Otherwise return None.

    A vote has a number per class, so the votes are float32 (rows, branches, classes + 1).

    Parameters
    ----------
    counts
        Number of rows by label.
    classes
        Number of classes.
    schema
        The columns. They determine how many branches there are.
    """
    rows, branches = sum(counts.values()), branch_count(schema)
    needed = rows * branches * (classes + 1) * _VOTE_BYTES
    available = available_bytes()
    # Where the available memory is not known, it counts as 0.
    if not available or needed * _TIMES_IN_MEMORY <= available:
        return None
    remedy = "Merge the rarest classes, use fewer rows, or use an instance with more memory."
    if all(number_of(label) is not None for label in counts):
        remedy = f"Set problem_type=regression to predict the labels as numbers. Otherwise: {remedy}"
    return (
        f"There are {classes:,} classes. The votes of {branches} branches on {rows:,} rows take {_gigabytes(needed)} "
        f"({rows:,} x {branches} x {classes + 1:,} x {_VOTE_BYTES} bytes), and {_TIMES_IN_MEMORY} times that where "
        f"they are combined, but {_gigabytes(available)} of memory are available. {remedy}"
    )


def branch_count(schema: FeatureSchema) -> int:
    """Return the number of branches (models that vote) for these columns. Fine-tuned branches do not count."""
    images = len(schema.of(Modality.IMAGE))
    text, numbers, categories = (bool(schema.of(modality)) for modality in (Modality.TEXT, Modality.NUM, Modality.CAT))
    kinds = images + text + numbers + categories
    joint = kinds > 1 and (text or images > 0)
    # Texts have one branch with words and one without.
    return kinds + text + joint + (numbers and categories)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
