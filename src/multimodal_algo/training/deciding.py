"""Chooses the decision rule of a job on the held-out rows of the final model, the one in the artifact."""

from __future__ import annotations

import logging
from dataclasses import replace

from multimodal_algo.core.aims import DecisionSettings
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.labels import Target
from multimodal_algo.fusion.decisions import HeldOutProbabilities, choose_rule
from multimodal_algo.training.start import Outcome

_LOG = logging.getLogger(__name__)


def positive_target(target: Target, settings: DecisionSettings) -> Target:
    """Return the target with its positive class set. If there are two classes, log which of them it is.

    Raises
    ------
    UserError
        The settings do not suit the classes.
    """
    if problem := settings.problem(target.classes):
        raise UserError(problem)
    target = target.with_positive(settings.positive_class)
    if target.positive_class is not None:
        rows, reason = int((target.values == target.task.positive).sum()), "the rarer one"
        if settings.positive_class:
            reason = "by positive_class"
        _LOG.info(
            "labels: the positive class is '%s' (%s), with %d of %d rows",
            target.positive_class[:60], reason, rows, len(target.values),
        )  # fmt: skip
    return target


def decided(outcome: Outcome, target: Target, settings: DecisionSettings) -> Outcome:
    """Return the outcome with the decision rule that the settings ask for. Log the rule and its promises.

    The rule is chosen on the held-out rows. If the outcome is a previous model without predictions for these rows, or a
    regression, return the outcome unchanged.
    """
    if target.task.is_regression:
        return outcome
    if not outcome.is_measured:
        if settings.decides:
            _LOG.warning("decisions: the previous model ships with its own thresholds, and not with those of this job")
        return outcome
    results = outcome.results
    rows = HeldOutProbabilities(results.predictions, results.targets, target.classes, target.task.positive)
    chosen = choose_rule(settings, rows)
    for is_warning, sentence in chosen.sentences():
        _LOG.log(logging.WARNING if is_warning else logging.INFO, "decisions: %s", sentence)
    return replace(outcome, decision=chosen, metrics=replace(outcome.metrics, decision=chosen.as_dict()))
