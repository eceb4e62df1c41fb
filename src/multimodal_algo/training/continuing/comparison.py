"""An earlier model beside the new one, on the same held-out rows, which neither was trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from multimodal_algo.core.labels import Target
from multimodal_algo.core.metrics import metrics_of, scores_of
from multimodal_algo.fusion.selection import Selector
from multimodal_algo.report.metrics import HeldOutResults, Metrics
from multimodal_algo.training.continuing.previous import PreviousModel

_LOG = logging.getLogger(__name__)

_LEAST_ROWS = 20


@dataclass(frozen=True)
class Compared:
    """Scores of both.

    Parameters
    ----------
    rows
        How many rows they are of.
    earlier, new
        By metric.
    earlier_is_better
        By the metric that training chooses by.
    judged
        What the earlier model says of the rows; None where only its scores are known.
    """

    rows: int
    previous: Mapping[str, float]
    new: Mapping[str, float]
    previous_is_better: bool
    judged: HeldOutResults | None

    def told(self, *, ships_previous: bool) -> dict[str, Any]:
        """For ``metrics.json``."""
        return {
            "rows": self.rows,
            "earlier": dict(self.previous),
            "new": dict(self.new),
            "shipped": "earlier" if ships_previous else "new",
        }


def compare(
    previous: PreviousModel, judged: HeldOutResults, metrics: Metrics, target: Target, judge: Selector
) -> Compared | None:
    """Both models on the rows of `judged` that the earlier one has not seen; None where there are too few.

    Where the earlier model was trained on just these rows, and was judged out of fold, its own scores are taken.

    Parameters
    ----------
    earlier
        The earlier model, of the same classes.
    judged, metrics
        What the new model says, and its scores.
    target
        What is predicted.
    judge
        Names the metric.
    """
    is_new = previous.is_new(judged.dataset.keys[judged.rows])
    rows = np.flatnonzero(is_new)
    beside: HeldOutResults | None = None
    scores: Mapping[str, float]
    ours: Mapping[str, float]
    told = previous.config.metrics
    if len(rows) >= _LEAST_ROWS:
        beside = _of_previous(previous, judged, rows)
        scores = scores_of(target.task, beside.targets, beside.answers)
        ours = scores_of(target.task, beside.targets, judged.answers[rows])
    elif not is_new.any() and (told.get("rows"), told.get("measured_on")) == (metrics.rows, metrics.measured_on):
        scores, ours = told["fused"], metrics.fused
    else:
        _LOG.warning(
            "model channel: %d rows are new to the earlier model, too few to compare it with the new one", len(rows)
        )
        return None
    name = judge.metric
    better = 1 if metrics_of(target.task)[name].greater_is_better else -1
    found = Compared(len(rows) or metrics.rows, scores, ours, better * (scores[name] - ours[name]) > 0, beside)
    _LOG.info(
        "earlier model: %s %.4f, the new one: %.4f (%d rows that neither was fitted to)",
        name, scores[name], ours[name], found.rows,
    )  # fmt: skip
    return found


def _of_previous(previous: PreviousModel, judged: HeldOutResults, rows: np.ndarray) -> HeldOutResults:
    vectors = previous.vectors(judged.dataset.features.take(judged.rows[rows]))
    return replace(
        judged,
        measured_on=f"{judged.measured_on}, those new to the model channel's artifact",
        answers=previous.fusion.predict(vectors),
        vectors=vectors,
        targets=judged.targets[rows],
        rows=judged.rows[rows],
    )
