"""Chooses a decision rule on held-out rows, and computes its figures on these rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from multimodal_algo.core.aims import Aim, AimKind, DecisionSettings
from multimodal_algo.core.decision import DecisionRule, scores_for
from multimodal_algo.core.promises import ChosenThreshold, choose_threshold, share_of_right
from multimodal_algo.core.threshold_curve import ThresholdCurve

# Candidates for thresholds in the artifact: most for all classes together, and most and fewest for one class.
_STORED, _MOST_STORED, _LEAST_STORED = 1000, 200, 20
_ANSWERED = "answered"


@dataclass(frozen=True)
class HeldOutProbabilities:
    """Held-out rows with their probabilities and true classes.

    Parameters
    ----------
    probabilities
        Probabilities, float (rows, n).
    targets
        True class indices, int (rows,).
    classes
        Names of the classes.
    positive
        Index of the positive class. Only used if there are two classes.
    """

    probabilities: np.ndarray
    targets: np.ndarray
    classes: Sequence[str]
    positive: int = 1

    def curve_of(self, label: int, named: Sequence[int] = (), abstain_below: float = 0.0) -> ThresholdCurve:
        """Count the rows that reach each candidate for the threshold of the class with the index `label`.

        `named` are the indices of all classes that have a threshold, by default only this class. `scores_for` describes
        the scores.
        """
        scores = scores_for(label, self.probabilities, named or (label,), abstain_below)
        is_class = self.targets == label
        return ThresholdCurve.of(scores, is_class, int(is_class.sum()))

    def answered_curve(self, rule: DecisionRule) -> ThresholdCurve:
        """Count the rows that `rule` answers with at least each candidate for the least probability of an answer.

        Rows that the rule leaves to a person do not count. A row is right if its answer is the true class.
        """
        decisions = rule.apply(self.probabilities)
        rows = np.arange(len(self.targets))
        scores = np.where(decisions.is_reviewed, -1.0, self.probabilities[rows, decisions.guesses])
        return ThresholdCurve.of(scores, decisions.guesses == self.targets, len(rows))


@dataclass(frozen=True)
class ChosenRule:
    """A decision rule, and the held-out rows on which it was chosen.

    Parameters
    ----------
    settings
        The user's settings, from which the rule was chosen.
    rows
        The held-out rows.
    aims
        Aims of the thresholds by the index of the class.
    thresholds
        Chosen thresholds by the index of the class.
    abstention
        Least probability of an answer. None if no setting asks for one.
    """

    settings: DecisionSettings
    rows: HeldOutProbabilities
    aims: Mapping[int, Aim]
    thresholds: Mapping[int, ChosenThreshold]
    abstention: ChosenThreshold | None

    @property
    def rule(self) -> DecisionRule:
        """The rule as numbers alone, to apply it to rows."""
        thresholds = {label: chosen.threshold for label, chosen in self.thresholds.items()}
        return DecisionRule(thresholds, 0.0 if self.abstention is None else self.abstention.threshold)

    @cached_property
    def answered(self) -> tuple[int, int]:
        """The number of held-out rows that the rule answers, and the number of right answers among these."""
        decisions = self.rule.apply(self.rows.probabilities)
        right = decisions.guesses == self.rows.targets
        return int((~decisions.is_reviewed).sum()), int((right & ~decisions.is_reviewed).sum())

    @property
    def positive_class(self) -> str | None:
        """The name of the positive class. None if there are not two classes."""
        return self.rows.classes[self.rows.positive] if len(self.rows.classes) == 2 else None

    def as_dict(self) -> dict[str, Any]:
        """Return the entry ``decision`` of ``metrics.json``."""
        answered, right = self.answered
        return {
            "positive_class": self.positive_class,
            "thresholds": {
                self.rows.classes[label]: {"aim": self.aims[label].text, **_figures(chosen)}
                for label, chosen in self.thresholds.items()
            },
            "abstain_below": None if self.abstention is None else self.abstention.threshold,
            "target_accuracy": self.settings.target_accuracy or None,
            "target_is_promised": None if self.abstention is None else self.abstention.is_promised,
            "review_label": self.settings.review_label,
            "rows": len(self.rows.targets),
            "answered": answered,
            "right": right,
        }

    def curves(self) -> dict[str, dict[str, Any]]:
        """Return the threshold curves by name of the class, from which inference can choose other thresholds.

        The entry with an empty name is the curve of all answers. With very many classes, it is the only entry.
        """
        rows, classes = self.rows, self.rows.classes
        curves = {"": rows.answered_curve(DecisionRule({})).thinned(_MOST_STORED).as_dict()}
        most = min(_MOST_STORED, _STORED // len(classes))
        if most >= _LEAST_STORED:
            curves |= {name: rows.curve_of(label).thinned(most).as_dict() for label, name in enumerate(classes)}
        return curves

    def sentences(self) -> Iterator[tuple[bool, str]]:
        """Yield sentences about the chosen thresholds, each after whether it is a warning."""
        for label, chosen in self.thresholds.items():
            yield _sentence_of_threshold(self.rows.classes[label], self.aims[label], chosen)
        if self.abstention is not None:
            yield _sentence_of_abstention(self.settings, self.abstention)
        if self.rule.may_review(len(self.rows.classes)):
            answered, right = self.answered
            rows = len(self.rows.targets)
            share = f", {right / answered:.1%} of them right" if answered else ""
            yield (
                False,
                (
                    f"{answered:,} of {rows:,} held-out rows are answered ({answered / rows:.1%}){share}. The others "
                    f"are answered with {self.settings.review_label}"
                ),
            )


def choose_rule(settings: DecisionSettings, rows: HeldOutProbabilities) -> ChosenRule:
    """Choose the decision rule that a user's settings ask for.

    Parameters
    ----------
    settings
        The settings. They must suit the classes, see `DecisionSettings.problem`.
    rows
        The held-out rows on which thresholds are chosen.
    """
    aims = settings.aims_by_index(rows.classes, rows.positive)
    thresholds = {
        label: choose_threshold(rows.curve_of(label, tuple(aims), settings.abstain_below), aim)
        for label, aim in aims.items()
    }
    chosen = ChosenRule(settings, rows, aims, thresholds, None)
    if not settings.abstain_below and not settings.target_accuracy:
        return chosen
    curve = rows.answered_curve(chosen.rule)
    if settings.target_accuracy:
        return replace(chosen, abstention=share_of_right(curve, settings.target_accuracy))
    return replace(chosen, abstention=choose_threshold(curve, Aim(AimKind.NUMBER, "", settings.abstain_below)))


def _figures(chosen: ChosenThreshold) -> dict[str, Any]:
    return {
        "threshold": chosen.threshold,
        "promised": chosen.is_promised,
        "reached": chosen.reached,
        "right": chosen.right,
        "of_class": chosen.positives,
        "rows": chosen.rows,
        "least_precision": chosen.least_precision,
        "least_recall": chosen.least_recall,
    }


def _sentence_of_threshold(name: str, aim: Aim, chosen: ChosenThreshold) -> tuple[bool, str]:
    if not chosen.reached:
        figures = f"none of {chosen.rows:,} held-out rows reaches it"
    else:
        figures = (
            f"{chosen.reached:,} of {chosen.rows:,} held-out rows reach it, {chosen.right:,} of them are right and "
            f"{chosen.positives:,} are of the class. precision {chosen.precision:.3f} (at least "
            f"{chosen.least_precision:.3f}), recall {chosen.recall:.3f} (at least {chosen.least_recall:.3f})"
        )
    start = f"'{name[:60]}' is answered from probability {chosen.threshold:.4f} on"
    if chosen.is_promised is None:
        return False, f"{start} ({aim.text}): {figures}"
    if chosen.is_promised:
        return False, f"{start}, which promises {aim.text} with 95 % confidence: {figures}"
    best = "the greatest proven precision" if aim.kind is AimKind.PRECISION else "the greatest possible recall"
    return True, f"{aim.text} cannot be promised with these rows. {start}, which has {best}: {figures}"


def _sentence_of_abstention(settings: DecisionSettings, chosen: ChosenThreshold) -> tuple[bool, str]:
    start = (
        f"rows are answered from probability {chosen.threshold:.4f} on" if chosen.threshold else "all rows are answered"
    )
    if not settings.target_accuracy:
        return False, f"{start} (abstain_below)"
    target = f"target_accuracy={settings.target_accuracy:g}"
    if chosen.is_promised:
        return False, f"{start}, which promises {target} with 95 % confidence"
    best = "which has the greatest proven accuracy"
    return True, f"{target} cannot be promised with these rows. {start.capitalize()}, {best}"
