"""The entry of an artifact's description with the rule by which it answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class DecisionEntry(BaseModel):
    """The rule by which probabilities become answers, and the held-out rows by which inference may choose another one.

    ``thresholds`` are by class. ``curves`` are `ThresholdCurve`s by class, and that of the answers has an empty name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    positive_class: str | None
    thresholds: dict[str, float]
    abstain_below: float
    review_label: str
    curves: dict[str, dict[str, Any]]
