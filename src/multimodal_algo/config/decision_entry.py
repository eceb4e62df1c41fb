"""The part of an artifact's description that holds its rule for answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class DecisionEntry(BaseModel):
    """The rule that turns probabilities into answers, and the counts from which inference can choose another rule.

    ``thresholds`` has a number for each class with a threshold, by the name of the class. ``curves`` has the
    `ThresholdCurve` of each class, by name. The entry with an empty name is the curve of all answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    positive_class: str | None
    thresholds: dict[str, float]
    abstain_below: float
    review_label: str
    curves: dict[str, dict[str, Any]]
