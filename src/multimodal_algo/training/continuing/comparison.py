"""The comparison of the previous model and the new one, on held-out rows that neither of them was trained on."""

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
class Comparison:
    """The scores of the previous model and of the new model on the same rows.

    Parameters
    ----------
    rows
        Number of compared rows.
    previous, new
        Scores of each model, by metric.
    previous_is_better
        Whether the previous model is better by the metric with which training compares models.
    results
        The compared rows with the previous model's predictions. None if only its scores are known.
    """

    rows: int
    previous: Mapping[str, float]
    new: Mapping[str, float]
    previous_is_better: bool
    results: HeldOutResults | None

    def summary(self, *, ships_previous: bool) -> dict[str, Any]:
        """Return the comparison as the entry ``earlier`` of ``metrics.json``."""
        return {
            "rows": self.rows,
            "earlier": dict(self.previous),
            "new": dict(self.new),
            "shipped": "earlier" if ships_previous else "new",
        }


def compare(
    previous: PreviousModel, results: HeldOutResults, metrics: Metrics, target: Target, selector: Selector
) -> Comparison | None:
    """Compare the previous and the new model on those rows of `results` that are new to the previous model.

    If the previous model was trained on exactly these rows, the scores that its own job measured are used instead.

    Parameters
    ----------
    previous
        The previous model. It has the same classes as the new one.
    results, metrics
        The held-out rows with the new model's predictions, and the new model's scores.
    target
        Classes or numbers that the job learns.
    selector
        Has the metric that decides.

    Returns
    -------
    Comparison or None
        None if too few rows are new to the previous model.
    """
    is_new = previous.is_new(results.dataset.keys[results.rows])
    rows = np.flatnonzero(is_new)
    compared: HeldOutResults | None = None
    before: Mapping[str, float]
    now: Mapping[str, float]
    measured = previous.config.metrics
    if len(rows) >= _LEAST_ROWS:
        compared = _results_of(previous, results, rows)
        before = scores_of(target.task, compared.targets, compared.predictions)
        now = scores_of(target.task, compared.targets, results.predictions[rows])
    elif not is_new.any() and _measured_on_the_same_rows(measured, metrics):
        before, now = measured["fused"], metrics.fused
    else:
        _LOG.warning(
            "model channel: %d rows are new to the previous model, too few to compare it with the new one", len(rows)
        )
        return None
    name = selector.metric
    sign = 1 if metrics_of(target.task)[name].greater_is_better else -1
    is_better = sign * (before[name] - now[name]) > 0
    comparison = Comparison(len(rows) or metrics.rows, before, now, is_better, compared)
    _LOG.info(
        "model channel: %s of the previous model %.6g, of the new one %.6g, on %d rows that neither was fitted to",
        name, before[name], now[name], comparison.rows,
    )  # fmt: skip
    return comparison


def _measured_on_the_same_rows(measured: Mapping[str, Any], metrics: Metrics) -> bool:
    return (measured.get("rows"), measured.get("measured_on")) == (metrics.rows, metrics.measured_on)


def _results_of(previous: PreviousModel, results: HeldOutResults, rows: np.ndarray) -> HeldOutResults:
    votes = previous.votes(results.dataset.features.take(results.rows[rows]))
    return replace(
        results,
        measured_on=f"{results.measured_on}, those new to the model channel's artifact",
        predictions=previous.fusion.predict(votes),
        votes=votes,
        targets=results.targets[rows],
        rows=results.rows[rows],
    )
