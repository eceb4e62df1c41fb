"""The task: the kind of the label and the length of a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ProblemType = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True)
class Task:
    """The task of a model: the kind and the length of a prediction.

    Parameters
    ----------
    problem_type
        AutoGluon's name of the kind.
    outputs
        Length n of a prediction: the number of classes, or 1 for a regression.
    """

    problem_type: ProblemType
    outputs: int

    @classmethod
    def of_classes(cls, count: int) -> Task:
        """Return the task of classification into `count` classes."""
        return cls("binary" if count == 2 else "multiclass", count)

    @classmethod
    def regression(cls) -> Task:
        """Return the task of predicting a number."""
        return cls("regression", 1)

    @classmethod
    def of(cls, problem_type: ProblemType, n_classes: int) -> Task:
        """Return the task of a problem type. `n_classes` is not used for a regression."""
        return cls.regression() if problem_type == "regression" else cls.of_classes(n_classes)

    @property
    def is_regression(self) -> bool:
        """Whether the label is a number."""
        return self.problem_type == "regression"

    @property
    def dtype(self) -> Literal["float32", "float64"]:
        """The type of votes and predictions: numbers keep the digits of their labels, probabilities need fewer."""
        return "float64" if self.is_regression else "float32"
