"""From the labels of a file to what is fitted: class indices, or numbers; and back."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.task import ProblemType, Task

MOST_CLASSES = 1000
# The share of different values among the rows above which AutoGluon takes whole numbers for numbers.
_SHARE_OF_FEW_ROWS, _SHARE_OF_MANY_ROWS, _MANY_ROWS = 0.1, 0.05, 1000


def number_of(label: str) -> float | None:
    """The finite number that a label spells; None where it spells none."""
    try:
        number = float(label)
    except ValueError:
        return None
    # Python reads 1_000 as a number; no other reader of CSV does.
    return number if math.isfinite(number) and "_" not in label else None


def detect_problem_type(counts: Mapping[str, int]) -> ProblemType:
    """What labels ask for: ``regression`` where they are numbers and many, else classes.

    The rule is AutoGluon's (``autogluon.core.utils.infer_problem_type``), with two exceptions: whole numbers that
    count from 0 or 1 without a gap are class numbers however many there are, and so are numbers with leading zeros.

    Parameters
    ----------
    counts
        Rows by label.
    """
    if len(counts) <= 2:
        return "binary"
    numbers = [number_of(label) for label in counts]
    if None in numbers or any(_has_leading_zero(label) for label in counts):
        return "multiclass"
    values = sorted({number for number in numbers if number is not None})
    whole = all(value.is_integer() for value in values)
    if whole and values[0] in (0, 1) and values[-1] - values[0] == len(values) - 1 and len(values) <= MOST_CLASSES:
        return "multiclass"
    rows = sum(counts.values())
    few = len(values) <= (_SHARE_OF_MANY_ROWS if rows > _MANY_ROWS else _SHARE_OF_FEW_ROWS) * rows
    return "multiclass" if whole and few and len(values) <= MOST_CLASSES else "regression"


@dataclass(frozen=True)
class Target:
    """What is fitted.

    Parameters
    ----------
    task
        What is predicted.
    classes
        The labels as they are spelled, sorted; empty for a regression.
    values
        Of each training row: its class index, int64 (rows,), or its number, float64 (rows,).
    """

    task: Task
    classes: tuple[str, ...]
    values: np.ndarray

    @classmethod
    def of(cls, labels: Sequence[str], problem_type: str, classes: Sequence[str] = ()) -> Target:
        """Learn the classes of training rows.

        Parameters
        ----------
        labels
            As they are spelled.
        problem_type
            ``auto`` (see `detect_problem_type`), ``binary``, ``multiclass`` or ``regression``.
        classes
            Those of an earlier model, sorted, where it has all the labels: classes without a row are kept then.

        Raises
        ------
        UserError
            The labels do not suit `problem_type`.
        """
        if classes:
            return cls._of_classes(labels, tuple(classes))
        counts = Counter(labels)
        kind = detect_problem_type(counts) if problem_type == "auto" else problem_type
        if kind == "regression":
            return cls(Task.regression(), (), _numbers(labels))
        if kind == "binary" and len(counts) != 2:
            raise UserError(f"problem_type is binary, but there are {len(counts)} different labels, not 2.")
        if len(counts) > MOST_CLASSES:
            numeric = all(number_of(label) is not None for label in counts)
            hint = "Set problem_type=regression to predict them as numbers." if numeric else "Merge the rarest ones."
            raise UserError(f"There are {len(counts)} classes, more than {MOST_CLASSES}. {hint}")
        return cls._of_classes(labels, tuple(sorted(counts)))

    @classmethod
    def _of_classes(cls, labels: Sequence[str], classes: tuple[str, ...]) -> Target:
        place = {name: number for number, name in enumerate(classes)}
        values = np.fromiter((place[label] for label in labels), dtype=np.int64, count=len(labels))
        return cls(Task.of_classes(len(classes)), classes, values)

    def values_of(self, labels: Sequence[str]) -> np.ndarray:
        """Class indices, int64 (rows,), -1 for a label that no training row has; or numbers, float64 (rows,)."""
        if self.task.is_regression:
            return _numbers(labels)
        place = {name: number for number, name in enumerate(self.classes)}
        return np.array([place.get(label, -1) for label in labels], dtype=np.int64)


def _numbers(labels: Sequence[str]) -> np.ndarray:
    values = [number_of(label) for label in labels]
    if None in values:
        row = values.index(None)
        raise UserError(
            f"The label '{labels[row][:40]}' (row {row + 1}) is no number, which problem_type=regression needs."
        )
    return np.array(values, dtype=np.float64)


def _has_leading_zero(label: str) -> bool:
    digits = label.strip().lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
