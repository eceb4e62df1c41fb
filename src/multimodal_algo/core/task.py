"""What is predicted: the kind of label, and how long the answers are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ProblemType = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True)
class Task:
    """What is predicted.

    Parameters
    ----------
    problem_type
        As AutoGluon calls it.
    outputs
        Length n of an answer: the number of classes, or 1 for a regression.
    """

    problem_type: ProblemType
    outputs: int

    @classmethod
    def of_classes(cls, count: int) -> Task:
        """Classification into `count` classes."""
        return cls("binary" if count == 2 else "multiclass", count)

    @classmethod
    def regression(cls) -> Task:
        """Prediction of a number."""
        return cls("regression", 1)

    @classmethod
    def of(cls, problem_type: ProblemType, n_classes: int) -> Task:
        """The task of an artifact."""
        return cls.regression() if problem_type == "regression" else cls.of_classes(n_classes)

    @property
    def is_regression(self) -> bool:
        """Whether the label is a number."""
        return self.problem_type == "regression"
