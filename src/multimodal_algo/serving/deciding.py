"""The decision rule of a served model. Environment variables may replace the rule of the artifact."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from multimodal_algo.config.decision_entry import DecisionEntry
from multimodal_algo.config.decisions import parse_aims
from multimodal_algo.config.inference import on_one_line
from multimodal_algo.core.aims import Aim, AimKind, DecisionSettings, review_problem
from multimodal_algo.core.decision import DecisionRule
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.promises import ChosenThreshold, choose_threshold, share_of_right
from multimodal_algo.core.threshold_curve import ThresholdCurve
from multimodal_algo.core.values import trimmed

if TYPE_CHECKING:
    from multimodal_algo.serving.loaded_model import RowAnswer

_THRESHOLD, _ABSTAIN, _TARGET, _LABEL = "DECISION_THRESHOLD", "ABSTAIN_BELOW", "TARGET_ACCURACY", "REVIEW_LABEL"
_NONE = "none"


@dataclass(frozen=True)
class Decider:
    """Answers rows with a decision rule, with the names of classes.

    Parameters
    ----------
    rule
        The rule that turns probabilities into answers.
    classes
        Names of the classes.
    review_label
        The answer to rows that are left to a person.
    """

    rule: DecisionRule
    classes: Sequence[str]
    review_label: str

    @property
    def may_review(self) -> bool:
        """Whether the rule may leave rows to a person."""
        return self.rule.may_review(len(self.classes))

    @classmethod
    def of(cls, entry: DecisionEntry | None, classes: Sequence[str], variables: Mapping[str, str]) -> Decider | None:
        """Return the decider of a served model. Return None if every row is answered with its likeliest class.

        Parameters
        ----------
        entry
            The entry ``decision`` of the artifact's description. None for a regression.
        classes
            Names of the classes.
        variables
            Environment variables. ``DECISION_THRESHOLD``, ``ABSTAIN_BELOW``, ``TARGET_ACCURACY`` and
            ``REVIEW_LABEL``, if set, override the entry.

        Raises
        ------
        UserError
            A variable cannot be read, does not suit the classes, or makes a promise that the held-out rows of the
            training job do not allow.
        """
        names = (_THRESHOLD, _ABSTAIN, _TARGET, _LABEL)
        given = {name: value for name in names if (value := variables.get(name, "").strip())}
        if entry is None:
            if given:
                raise UserError(f"{next(iter(given))} is set, but this model predicts numbers.")
            return None
        rule = _rule(entry, classes, given)
        label = on_one_line(trimmed(given.get(_LABEL, ""))) or entry.review_label
        if not rule.thresholds and not rule.abstain_below:
            return None
        decider = cls(rule, classes, label)
        if decider.may_review and (problem := review_problem(label, classes)):
            raise UserError(problem)
        return decider

    def decide(self, answers: Sequence[RowAnswer]) -> list[RowAnswer]:
        """Return the answers with ``guess`` and ``is_reviewed`` set according to the rule."""
        if not answers:
            return []
        decisions = self.rule.apply(np.stack([row.answer for row in answers]))
        pairs = zip(answers, decisions.guesses.tolist(), decisions.is_reviewed.tolist(), strict=True)
        return [replace(row, guess=guess, is_reviewed=is_reviewed) for row, guess, is_reviewed in pairs]

    def labels(self, probabilities: np.ndarray) -> tuple[list[str], list[str]]:
        """Return the answer and the best guess for each row, as names. `probabilities` are float (rows, n)."""
        decisions = self.rule.apply(probabilities)
        guesses = [self.classes[guess] for guess in decisions.guesses.tolist()]
        pairs = zip(guesses, decisions.is_reviewed.tolist(), strict=True)
        return [self.review_label if is_reviewed else guess for guess, is_reviewed in pairs], guesses


def _rule(entry: DecisionEntry, classes: Sequence[str], given: Mapping[str, str]) -> DecisionRule:
    thresholds = {classes.index(name): threshold for name, threshold in entry.thresholds.items()}
    if _THRESHOLD in given:
        thresholds = _thresholds(entry, classes, given[_THRESHOLD])
    if _ABSTAIN in given and _TARGET in given:
        raise UserError(f"{_ABSTAIN} and {_TARGET} both set the least probability of an answer. Set one of them.")
    if _ABSTAIN in given:
        return DecisionRule(thresholds, _share(given[_ABSTAIN], _ABSTAIN))
    if _TARGET in given:
        return DecisionRule(thresholds, _abstain_below(entry, thresholds, _share(given[_TARGET], _TARGET)))
    return DecisionRule(thresholds, entry.abstain_below)


def _thresholds(entry: DecisionEntry, classes: Sequence[str], text: str) -> dict[int, float]:
    if text.lower() == _NONE:
        return {}
    aims = parse_aims(text, _THRESHOLD)
    settings = DecisionSettings(aim=aims) if isinstance(aims, Aim) else DecisionSettings(aims=aims or {})
    if problem := settings.problem(classes):
        raise UserError(problem.replace("decision_threshold", _THRESHOLD))
    positive = classes.index(entry.positive_class) if entry.positive_class else 0
    by_index = settings.aims_by_index(classes, positive)
    return {label: _threshold(entry, classes[label], aim, by_index) for label, aim in by_index.items()}


def _threshold(entry: DecisionEntry, name: str, aim: Aim, aims: Collection[int]) -> float:
    if aim.kind is AimKind.NUMBER:
        return aim.value
    if len(aims) > 1 or name not in entry.curves:
        raise UserError(
            f"{_THRESHOLD} asks for {aim.text} of '{name[:60]}', which inference can choose for one class at a "
            "time, and only of a model with few classes. Give numbers, or set decision_threshold in training."
        )
    chosen = choose_threshold(ThresholdCurve.from_dict(entry.curves[name]), aim)
    return _kept(chosen, f"{_THRESHOLD} asks for {aim.text} of '{name[:60]}'")


def _abstain_below(entry: DecisionEntry, thresholds: Mapping[int, float], target: float) -> float:
    if not target:
        return 0.0
    if thresholds or not target < 1:
        raise UserError(
            f"{_TARGET} is below 1, and for a model without thresholds of its own. Set {_THRESHOLD}={_NONE}, or set "
            "target_accuracy in training."
        )
    chosen = share_of_right(ThresholdCurve.from_dict(entry.curves[""]), target)
    return _kept(chosen, f"{_TARGET} asks for {target:g}")


def _kept(chosen: ChosenThreshold, wish: str) -> float:
    """Return the threshold. Refuse it if the promise that `wish` describes cannot be made."""
    if chosen.is_promised is False:
        raise UserError(
            f"{wish}, which the {chosen.rows} held-out rows of the training job cannot promise. Ask for less, or give "
            "a number."
        )
    return chosen.threshold


def _share(text: str, name: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UserError(f"{name} is '{text[:60]}': it must be a number from 0 to 1.")
    return share
