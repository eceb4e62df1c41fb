"""Turns the labels of a file into what a model learns: class indices or numbers."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.task import ProblemType, Task
from multimodal_algo.core.values import classes_of, label_keys, rows_by_class

# Beyond this number of different values, numbers are amounts and not the names of classes.
_MOST_CLASS_NUMBERS = 1000
# With more different labels than these, numbers are looked at as they are.
_MOST_SPELLINGS = 10_000
# Share of different values among the rows. Above it, AutoGluon takes whole numbers for amounts, and not for classes.
_SHARE_OF_FEW_ROWS, _SHARE_OF_MANY_ROWS, _MANY_ROWS = 0.1, 0.05, 1000


# A sign, a currency, digits with or without separators of thousands, and a currency or a percent sign.
_CURRENCY = r"(?:[$€£¥₹]|US\$|USD|EUR|GBP|CHF|JPY)"
_AMOUNT = re.compile(
    rf"([-+]?)\s?{_CURRENCY}?\s?((?:\d{{1,3}}(?:,\d{{3}})+|\d+)(?:\.\d+)?)\s?(?:{_CURRENCY}|%)?", re.IGNORECASE
)


def amount_of(label: str) -> float | None:
    """Return the number in a label that is an amount: 31.79 for ``$31.79``. Otherwise return None.

    An amount has a currency, a percent sign or separators of thousands, so that `number_of` does not read it.
    """
    match = _AMOUNT.fullmatch(label.strip())
    if match is None or number_of(label) is not None:
        return None
    return float(match[1] + match[2].replace(",", ""))


def number_of(label: str) -> float | None:
    """Return the number that a label spells. None if it spells none, or one that is not finite."""
    try:
        number = float(label)
    except ValueError:
        return None
    # Python reads 1_000 as a number. Other readers of CSV do not.
    return number if math.isfinite(number) and "_" not in label else None


def detect_problem_type(counts: Mapping[str, int]) -> ProblemType:
    """Return the problem type that suits the labels: ``regression`` for many different numbers, otherwise classes.

    The rule is that of ``autogluon.core.utils.infer_problem_type``, with two exceptions. Whole numbers that count from
    0 or 1 without a gap are class numbers, however many there are. Numbers with leading zeros are classes too.

    Parameters
    ----------
    counts
        Number of rows by class, see `rows_by_class`.
    """
    if len(counts) <= 2:
        return "binary"
    numbers = [number_of(label) for label in counts]
    if None in numbers or any(_has_leading_zero(label) for label in counts):
        return "multiclass"
    values = sorted({number for number in numbers if number is not None})
    whole = len(values) <= _MOST_CLASS_NUMBERS and all(value.is_integer() for value in values)
    if whole and values[0] in (0, 1) and values[-1] - values[0] == len(values) - 1:
        return "multiclass"
    rows = sum(counts.values())
    few = len(values) <= (_SHARE_OF_MANY_ROWS if rows > _MANY_ROWS else _SHARE_OF_FEW_ROWS) * rows
    return "multiclass" if whole and few else "regression"


def binary_problem(classes: int) -> str | None:
    """Return a sentence if ``problem_type=binary`` does not suit this number of classes. Otherwise return None."""
    return None if classes == 2 else f"problem_type is binary, but there are {classes} different labels, not 2."


def positive_problem(wanted: str, classes: Sequence[str]) -> str | None:
    """Return a sentence if the `wanted` ``positive_class`` does not suit the classes. Otherwise return None."""
    if not wanted:
        return None
    if len(classes) != 2:
        return (
            f"positive_class is '{wanted[:60]}', which needs two classes, but there are {len(classes)}. Leave it out."
        )
    keys = label_keys(classes)
    if label_keys([wanted], are_like=keys.values())[wanted] in keys.values():
        return None
    shown = " and ".join(f"'{label[:60]}'" for label in classes)
    return f"positive_class is '{wanted[:60]}', which is not a label of the data. The labels are {shown}."


def class_counts(counts: Mapping[str, int]) -> Mapping[str, int]:
    """Return the number of rows of each class, from `counts`, the number of rows of each label.

    Different spellings of one class are counted together. In a regression, each number stays as it is.
    """
    if len(counts) > _MOST_SPELLINGS and detect_problem_type(counts) == "regression":
        return counts
    return rows_by_class(counts)


@dataclass(frozen=True)
class Target:
    """The labels of the training rows in the form that models learn: class indices or numbers.

    Parameters
    ----------
    task
        Kind of the prediction.
    classes
        Names of the classes in sorted order, see `classes_of`. Empty for a regression.
    values
        Class index of each training row, int64 (rows,). For a regression the number of each row, float64 (rows,).
    """

    task: Task
    classes: tuple[str, ...]
    values: np.ndarray

    @classmethod
    def of(cls, labels: Sequence[str], problem_type: str, classes: Sequence[str] = ()) -> Target:
        """Make the target from the labels of the training rows.

        Parameters
        ----------
        labels
            Label of each row, without white space at its ends.
        problem_type
            ``binary``, ``multiclass``, ``regression``, or ``auto`` for `detect_problem_type`.
        classes
            Classes of the previous model, sorted. If they include all labels, they are the classes of the target, also
            those without a row. Otherwise they only decide how a class that the labels also have is spelled.

        Raises
        ------
        UserError
            The labels do not suit `problem_type`.
        """
        if problem_type == "regression":
            return cls(Task.regression(), (), _numbers(labels))
        spellings = Counter(labels)
        known = classes_of(spellings, classes) if classes else {}
        if classes and set(known.values()) <= set(classes):
            return cls._of_classes([known[label] for label in labels], tuple(classes))
        kind = detect_problem_type(class_counts(spellings)) if problem_type == "auto" else problem_type
        if kind == "regression":
            return cls(Task.regression(), (), _numbers(labels))
        class_of = known or classes_of(spellings)
        names = sorted(set(class_of.values()))
        if kind == "binary" and (problem := binary_problem(len(names))):
            raise UserError(problem)
        return cls._of_classes([class_of[label] for label in labels], tuple(names))

    @classmethod
    def _of_classes(cls, labels: Sequence[str], classes: tuple[str, ...]) -> Target:
        index_of = {name: index for index, name in enumerate(classes)}
        values = np.fromiter((index_of[label] for label in labels), dtype=np.int64, count=len(labels))
        return cls(Task.of_classes(len(classes)), classes, values)

    def values_of(self, labels: Sequence[str]) -> np.ndarray:
        """Return the class index of each label, int64 (rows,). A label that training did not have gets -1.

        For a regression, return the numbers, float64 (rows,).
        """
        if self.task.is_regression:
            return _numbers(labels)
        keys = label_keys(self.classes)
        index_of = {key: index for index, key in enumerate(keys.values())}
        key_of = label_keys(labels, are_like=keys.values())
        return np.array([index_of.get(key_of[label], -1) for label in labels], dtype=np.int64)

    def with_positive(self, wanted: str) -> Target:
        """Return the target with its positive class: the `wanted` one, or the rarer of two classes.

        If two classes have the same number of rows, the second is the positive class. If there are not two classes, the
        target is returned unchanged.

        Raises
        ------
        UserError
            `wanted` is not one of two classes.
        """
        if problem := positive_problem(wanted, self.classes):
            raise UserError(problem)
        if len(self.classes) != 2:
            return self
        if wanted:
            positive = int(self.values_of([wanted])[0])
        else:
            first, second = np.bincount(self.values, minlength=2)
            positive = int(first >= second)
        return replace(self, task=Task.of_classes(2, positive))

    @property
    def positive_class(self) -> str | None:
        """The name of the positive class. None if there are not two classes."""
        return self.classes[self.task.positive] if len(self.classes) == 2 else None

    @property
    def present(self) -> tuple[str, ...]:
        """The classes that have at least one training row. Empty for a regression."""
        return tuple(self.classes[index] for index in np.unique(self.values)) if self.classes else ()


def _numbers(labels: Sequence[str]) -> np.ndarray:
    values = [number_of(label) for label in labels]
    if None in values:
        row = values.index(None)
        raise UserError(
            f"The label '{labels[row][:40]}' (row {row + 1}) is not a number, which problem_type=regression needs."
        )
    return np.array(values, dtype=np.float64)


def _has_leading_zero(label: str) -> bool:
    digits = label.strip().lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
