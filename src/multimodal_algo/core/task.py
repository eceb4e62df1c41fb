"""The task of a model: whether it predicts classes or a number."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ProblemType = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True)
class Task:
    """The kind of prediction that a model makes, a class or a number, with its length.

    Parameters
    ----------
    problem_type
        AutoGluon's name for the kind: ``binary``, ``multiclass`` or ``regression``.
    outputs
        Length n of a prediction: the number of classes, or 1 for a regression.
    positive
        Index of the positive class, the one of two classes that is sought. Only metrics depend on it, so two tasks that
        differ in it are equal.
    """

    problem_type: ProblemType
    outputs: int
    positive: int = field(default=1, compare=False)

    @classmethod
    def of_classes(cls, count: int, positive: int = 1) -> Task:
        """Return the task of classification into `count` classes. Only two classes have a `positive` one, an index."""
        return cls("binary", 2, positive) if count == 2 else cls("multiclass", count)

    @classmethod
    def regression(cls) -> Task:
        """Return the task of predicting a number, a regression."""
        return cls("regression", 1)

    @classmethod
    def of(cls, problem_type: ProblemType, n_classes: int, positive: int = 1) -> Task:
        """Return the task with this problem type. A regression ignores `n_classes` and the `positive` class."""
        return cls.regression() if problem_type == "regression" else cls.of_classes(n_classes, positive)

    @property
    def is_regression(self) -> bool:
        """Whether the model predicts a number."""
        return self.problem_type == "regression"

    @property
    def dtype(self) -> Literal["float32", "float64"]:
        """The type of predictions: float64 for numbers, to keep all digits of labels, and float32 for probabilities."""
        return "float64" if self.is_regression else "float32"
